import type { ReactNode } from 'react'
import { harmless } from './plain'

/** Names and values beside each other. */
export function Facts({ label, of }: { label: string; of: readonly (readonly [name: string, value: ReactNode])[] }) {
  return (
    <dl aria-label={label} className="grid grid-cols-[max-content_minmax(0,1fr)] gap-x-4 gap-y-1.5">
      {of
        .filter(([, value]) => value !== null && value !== undefined && value !== '' && value !== false)
        .map(([name, value]) => (
          <div key={name} className="contents">
            <dt className="text-sm text-muted">{name}</dt>
            <dd className="min-w-0 break-words">{typeof value === 'string' ? harmless(value) : value}</dd>
          </div>
        ))}
    </dl>
  )
}

/** Text as a program wrote it, in a frame that scrolls. */
export function Code({ label, text, className = 'max-h-[60vh]' }: { label: string; text: string; className?: string }) {
  const cut = text.length > 200_000 ? `${text.slice(0, 200_000)}\n… ${text.length.toLocaleString('en')} characters` : text
  const lines = cut.split('\n').map((line) => (line.length > 2000 ? `${line.slice(0, 2000)} …` : line))
  return (
    <pre role="region" aria-label={label} tabIndex={0} className={`overflow-auto rounded-lg border border-line bg-panel p-3 font-mono text-sm ${className}`}>
      {lines.map(harmless).join('\n')}
    </pre>
  )
}

/** A value of any kind, as JSON. */
export const json = (value: unknown): string => JSON.stringify(value, null, 2) ?? ''
