import { useVirtualizer } from '@tanstack/react-virtual'
import { useMemo, useRef } from 'react'
import { shownLine } from '../ui/plain'

const LOOKS: Record<string, string> = { '+': 'bg-added', '-': 'bg-removed', '@': 'bg-raised text-muted' }
const LINE_PX = 21

/** What an approval is bound to, line by line: a unified diff, or whatever text the action has instead. */
export function Diff({ text }: { text: string }) {
  const frame = useRef<HTMLDivElement>(null)
  const lines = useMemo(() => text.replace(/\n$/, '').split('\n'), [text])
  const virtual = useVirtualizer({ count: lines.length, getScrollElement: () => frame.current, estimateSize: () => LINE_PX, overscan: 20 })
  if (text === '') return <p className="text-muted">This act changes no file.</p>
  return (
    <div ref={frame} role="region" aria-label="Diff" tabIndex={0} className="max-h-[65vh] overflow-auto rounded-lg border border-line bg-panel font-mono text-sm">
      <div className="relative w-max min-w-full" style={{ height: virtual.getTotalSize() }}>
        {virtual.getVirtualItems().map((item) => {
          const line = lines[item.index] ?? ''
          return (
            <div key={item.key} style={{ height: LINE_PX, transform: `translateY(${item.start}px)` }} className={`absolute top-0 left-0 min-w-full px-3 whitespace-pre ${LOOKS[line.charAt(0)] ?? ''}`}>
              {shownLine(line, 500) || ' '}
            </div>
          )
        })}
      </div>
    </div>
  )
}
