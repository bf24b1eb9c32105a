import { useEffect, useId, useRef, type KeyboardEvent, type ReactNode } from 'react'

export interface Tab {
  id: string
  label: string
  /** A number beside the label. */
  count?: number | undefined
}

interface Props {
  label: string
  tabs: readonly Tab[]
  /** The chosen one: it belongs into the address (search params). */
  value: string
  onChange: (id: string) => void
  children: ReactNode
}

/** Tabs over one panel: arrows choose, Home and End jump. */
export function Tabs({ label, tabs, value, onChange, children }: Props) {
  const id = useId()
  const row = useRef<HTMLDivElement>(null)
  // Where not all fit beside each other, the chosen one is among those that are seen.
  useEffect(() => {
    const [all, one] = [row.current, row.current?.querySelector<HTMLElement>('[aria-selected="true"]')]
    if (!all || !one) return
    const left = one.offsetLeft - all.offsetLeft
    if (left < all.scrollLeft || left + one.offsetWidth > all.scrollLeft + all.clientWidth) all.scrollLeft = left
  }, [value])
  const move = (event: KeyboardEvent) => {
    const at = tabs.findIndex((tab) => tab.id === value)
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key]
    if (to === undefined) return
    event.preventDefault()
    const tab = tabs[(to + tabs.length) % tabs.length]
    if (!tab) return
    onChange(tab.id)
    row.current?.querySelector<HTMLElement>(`[data-tab="${CSS.escape(tab.id)}"]`)?.focus()
  }
  return (
    <div className="flex min-w-0 flex-col gap-3">
      <div ref={row} role="tablist" aria-label={label} onKeyDown={move} className="flex gap-1 border-b border-line max-sm:overflow-x-auto sm:flex-wrap">
        {tabs.map((tab) => (
          <button
            key={tab.id}
            type="button"
            role="tab"
            id={`${id}-${tab.id}`}
            data-tab={tab.id}
            aria-selected={tab.id === value}
            aria-controls={`${id}-panel`}
            tabIndex={tab.id === value ? 0 : -1}
            onClick={() => onChange(tab.id)}
            className={`-mb-px border-b-2 px-3 py-1.5 whitespace-nowrap ${tab.id === value ? 'border-accent font-medium text-text' : 'border-transparent text-muted hover:text-text'}`}
          >
            {tab.label}
            {tab.count !== undefined && <span className="ml-1.5 rounded-full bg-raised px-1.5 text-sm text-muted">{tab.count}</span>}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${value}`} className="min-w-0">
        {children}
      </div>
    </div>
  )
}
