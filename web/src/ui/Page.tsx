import { useEffect, type ReactNode } from 'react'

interface Props {
  title: string
  /** What stands in the tab of the browser; the title where it is missing. */
  tab?: string
  /** Buttons at the right of the title. */
  actions?: ReactNode
  /** One line below the title. */
  below?: ReactNode
  children: ReactNode
}

/** A page of the console: one heading, what can be done, and the rest. */
export function Page({ title, tab, actions, below, children }: Props) {
  useEffect(() => {
    document.title = `${tab ?? title} · BuilderOS`
  }, [tab, title])
  return (
    <div className="mx-auto flex w-full max-w-[max(110rem,75vw)] flex-col gap-5 p-4 sm:p-6">
      <header className="flex flex-wrap items-start justify-between gap-3">
        <div className="min-w-0">
          <h1>{title}</h1>
          {below && <div className="text-muted">{below}</div>}
        </div>
        {actions && <div className="flex flex-wrap items-center gap-2">{actions}</div>}
      </header>
      {children}
    </div>
  )
}

/** A part of a page with a heading of its own. */
export function Section({ title, actions, children }: { title: string; actions?: ReactNode; children: ReactNode }) {
  return (
    <section aria-label={title} className="flex min-w-0 flex-col gap-3">
      <div className="flex flex-wrap items-center justify-between gap-2">
        <h2>{title}</h2>
        {actions}
      </div>
      {children}
    </section>
  )
}

/** Content on a surface of its own. */
export function Panel({ children, className = '' }: { children: ReactNode; className?: string }) {
  return <div className={`min-w-0 rounded-lg border border-line bg-panel ${className}`}>{children}</div>
}
