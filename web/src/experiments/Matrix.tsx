import { useVirtualizer } from '@tanstack/react-virtual'
import { useRef, type ReactNode } from 'react'

interface Props {
  label: string
  /** What the rows are: Param, Metric, File. */
  corner: string
  rows: readonly { key: string; name: string; cells: readonly ReactNode[]; marked?: boolean }[]
  columns: readonly { key: string; head: ReactNode }[]
}

const ROW_PX = 36
const NAME_PX = 220
const CELL_PX = 170

/** A table that is long and wide: only what can be seen of its rows and of its columns is in the document. */
export function Matrix({ label, corner, rows, columns }: Props) {
  const frame = useRef<HTMLDivElement>(null)
  const down = useVirtualizer({ count: rows.length, getScrollElement: () => frame.current, estimateSize: () => ROW_PX, overscan: 6 })
  const right = useVirtualizer({ horizontal: true, count: columns.length, getScrollElement: () => frame.current, estimateSize: () => CELL_PX, overscan: 2 })
  const across = right.getVirtualItems()
  const width = NAME_PX + right.getTotalSize()
  return (
    <div ref={frame} role="region" aria-label={label} tabIndex={0} className="max-h-[70vh] overflow-auto rounded-lg border border-line bg-panel">
      <div role="table" aria-label={label} aria-rowcount={rows.length + 1} aria-colcount={columns.length + 1} style={{ width }} className="relative">
        <div role="row" aria-rowindex={1} className="sticky top-0 z-2 h-9 border-b border-line bg-raised text-sm font-medium">
          <div role="columnheader" aria-colindex={1} style={{ width: NAME_PX }} className="sticky left-0 z-1 h-9 bg-raised px-3 py-1.5 text-muted">{corner}</div>
          {across.map((item) => (
            <div key={item.key} role="columnheader" aria-colindex={item.index + 2} style={{ width: CELL_PX, left: NAME_PX + item.start }} className="absolute top-0 truncate px-3 py-1.5">
              {columns[item.index]?.head}
            </div>
          ))}
        </div>
        <div role="rowgroup" className="relative" style={{ height: down.getTotalSize() }}>
          {down.getVirtualItems().map((line) => {
            const row = rows[line.index]
            return (
              row && (
                <div key={row.key} role="row" aria-rowindex={line.index + 2} style={{ height: ROW_PX, width, transform: `translateY(${line.start}px)` }} className={`absolute top-0 left-0 border-b border-line ${row.marked ? 'font-medium' : ''}`}>
                  <div role="rowheader" aria-colindex={1} title={row.name} style={{ width: NAME_PX, height: ROW_PX - 1 }} className="sticky left-0 z-1 truncate bg-panel px-3 py-1.5 text-sm">
                    <bdi>{row.name}</bdi>
                  </div>
                  {across.map((item) => (
                    <div key={item.key} role="cell" aria-colindex={item.index + 2} style={{ width: CELL_PX, left: NAME_PX + item.start }} className="absolute top-0 truncate px-3 py-1.5 text-sm">
                      {row.cells[item.index]}
                    </div>
                  ))}
                </div>
              )
            )
          })}
        </div>
      </div>
    </div>
  )
}
