import { useVirtualizer } from '@tanstack/react-virtual'
import { useEffect, useRef, type KeyboardEvent, type ReactNode } from 'react'

export interface Column<Row> {
  id: string
  title: string
  cell: (row: Row) => ReactNode
  /** Width as a track of a CSS grid, e.g. `8rem` or `minmax(12rem, 2fr)`. */
  width?: string
  align?: 'right'
  /** How the rows stand by this column, and what a press on its title does. */
  sorted?: 'ascending' | 'descending' | undefined
  onSort?: () => void
}

interface Props<Row> {
  /** What the table is, for readers of the screen. */
  label: string
  rows: readonly Row[]
  columns: readonly Column<Row>[]
  keyOf: (row: Row) => string
  /** Enter or a double press on a row. Links stand in cells. */
  onOpen?: (row: Row) => void
  /** Chosen rows, for acts on many; without it there are no boxes. */
  chosen?: ReadonlySet<string>
  onChoose?: (chosen: ReadonlySet<string>) => void
  /** Called when the end comes near: read the next page. */
  onEnd?: () => void
  more?: boolean
  rowHeight?: number
  className?: string
}

const ROW_PX = 44

/**
 * A table of any length: only the rows that can be seen are in the document. Up and down move, Enter opens, space
 * chooses; the rows are one stop of Tab.
 */
export function Table<Row>({ label, rows, columns, keyOf, onOpen, chosen, onChoose, onEnd, more = false, rowHeight = ROW_PX, className = 'max-h-[70vh]' }: Props<Row>) {
  const frame = useRef<HTMLDivElement>(null)
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => frame.current, estimateSize: () => rowHeight, overscan: 8 })
  const seen = virtual.getVirtualItems()
  const last = seen.at(-1)?.index ?? 0
  useEffect(() => {
    if (more && last >= rows.length - 10) onEnd?.()
  }, [last, more, rows.length, onEnd])
  const tracks = columns.map((column) => column.width ?? 'minmax(8rem, 1fr)')
  if (chosen) tracks.unshift('2.25rem')
  const shape = { gridTemplateColumns: tracks.join(' ') }
  const toggle = (key: string) => {
    const next = new Set(chosen)
    if (!next.delete(key)) next.add(key)
    onChoose?.(next)
  }
  const onKey = (event: KeyboardEvent<HTMLElement>) => {
    const row = (event.target as HTMLElement).closest<HTMLElement>('[data-index]')
    if (!row || event.target !== row) return
    const at = Number(row.dataset.index)
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key]
    const here = rows[at]
    if (to !== undefined) focusRow(Math.max(0, Math.min(to, rows.length - 1)))
    else if (event.key === 'Enter' && here && onOpen) onOpen(here)
    else if (event.key === ' ' && here && chosen) toggle(keyOf(here))
    else return
    event.preventDefault()
  }
  const focusRow = (index: number) => {
    virtual.scrollToIndex(index)
    requestAnimationFrame(() => frame.current?.querySelector<HTMLElement>(`[data-index="${index}"]`)?.focus())
  }
  const all = chosen !== undefined && rows.length > 0 && rows.every((row) => chosen.has(keyOf(row)))
  return (
    <div ref={frame} role="region" aria-label={label} tabIndex={0} className={`@container overflow-auto rounded-lg border border-line bg-panel ${className}`}>
      <div role="table" aria-label={label} aria-rowcount={more ? -1 : rows.length + 1} onKeyDown={onKey} className="w-max min-w-full">
        <div role="row" aria-rowindex={1} style={shape} className="sticky top-0 z-1 grid items-center border-b border-line bg-raised text-sm font-medium text-muted">
          {chosen && (
            <div role="columnheader" className="px-2.5">
              <input type="checkbox" aria-label="Choose all" checked={all} onChange={() => onChoose?.(all ? new Set() : new Set(rows.map(keyOf)))} className="size-4 accent-accent" />
            </div>
          )}
          {columns.map((column) => (
            <div key={column.id} role="columnheader" aria-sort={column.sorted} className={`min-w-0 truncate px-3 py-2 ${column.align === 'right' ? 'text-right' : ''}`}>
              {column.onSort ? (
                <button type="button" onClick={column.onSort} title={column.title} className="max-w-full truncate font-medium hover:text-text">
                  {column.title}
                  {column.sorted && <span aria-hidden> {column.sorted === 'ascending' ? '↑' : '↓'}</span>}
                </button>
              ) : (
                column.title
              )}
            </div>
          ))}
        </div>
        <div role="rowgroup" className="relative" style={{ height: virtual.getTotalSize() }}>
          {seen.map((item) => {
            const row = rows[item.index]
            if (row === undefined) return null
            const key = keyOf(row)
            return (
              <div
                key={key}
                role="row"
                aria-rowindex={item.index + 2}
                aria-selected={chosen ? chosen.has(key) : undefined}
                data-index={item.index}
                tabIndex={item.index === (seen[0]?.index ?? 0) ? 0 : -1}
                onDoubleClick={onOpen && (() => onOpen(row))}
                style={{ ...shape, height: item.size, transform: `translateY(${item.start}px)` }}
                className="absolute inset-x-0 top-0 grid items-center border-b border-line hover:bg-raised focus-visible:-outline-offset-2"
              >
                {chosen && (
                  <div role="cell" className="px-2.5">
                    <input type="checkbox" tabIndex={-1} aria-label={`Choose ${key}`} checked={chosen.has(key)} onChange={() => toggle(key)} className="size-4 accent-accent" />
                  </div>
                )}
                {columns.map((column) => (
                  <div key={column.id} role="cell" className={`truncate px-3 ${column.align === 'right' ? 'text-right' : ''}`}>
                    {column.cell(row)}
                  </div>
                ))}
              </div>
            )
          })}
        </div>
      </div>
    </div>
  )
}
