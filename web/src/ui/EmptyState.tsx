import type { ReactNode } from 'react'
import { Copy } from './Copy'

/** What stands where nothing is yet: one sentence, and the one command that fills it. */
export function EmptyState({ title, command, children }: { title: string; command?: string; children?: ReactNode }) {
  return (
    <div data-empty className="flex flex-col items-start gap-3 rounded-lg border border-dashed border-line bg-panel p-6">
      <p className="font-medium">{title}</p>
      {children && <div className="text-muted">{children}</div>}
      {command && (
        <div className="flex max-w-full flex-wrap items-center gap-2">
          <code className="rounded bg-raised px-2 py-1 font-mono text-sm">{command}</code>
          <Copy text={command} />
        </div>
      )}
    </div>
  )
}
