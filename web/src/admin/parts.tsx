import { useNavigate } from '@tanstack/react-router'
import { useState, type FormEvent, type ReactNode } from 'react'
import { Button } from '../ui/Button'
import { Copy } from '../ui/Copy'
import { Dialog } from '../ui/Dialog'
import { TextField } from '../ui/Field'
import { Note } from '../ui/Note'
import { adminRoute, type AdminSearch } from './route'

type Name = Exclude<keyof AdminSearch, 'tab'>

/** Filters that live in the address: what is typed counts on Enter. */
export function Filters({ fields, children }: { fields: readonly (readonly [name: Name, label: string, type?: 'date'])[]; children?: ReactNode }) {
  const search = adminRoute.useSearch()
  const go = useNavigate()
  const now = JSON.stringify(fields.map(([name]) => search[name] ?? ''))
  return <Form key={now} fields={fields} search={search} onSend={(next) => void go({ to: '/admin', search: { ...search, ...next } })}>{children}</Form>
}

function Form({ fields, search, onSend, children }: { fields: readonly (readonly [Name, string, 'date'?])[]; search: AdminSearch; onSend: (next: AdminSearch) => void; children: ReactNode }) {
  const [typed, setTyped] = useState<AdminSearch>({})
  const send = (event: FormEvent) => {
    event.preventDefault()
    onSend(Object.fromEntries(fields.map(([name]) => [name, (typed[name] ?? search[name] ?? '').trim() || undefined])))
  }
  return (
    <form role="search" onSubmit={send} className="flex flex-wrap items-end gap-3">
      {fields.map(([name, label, type]) => (
        <div key={name} className="w-44 max-w-full">
          <TextField label={label} type={type ?? 'text'} value={typed[name] ?? search[name] ?? ''} onChange={(value) => setTyped({ ...typed, [name]: value })} />
        </div>
      ))}
      <Button type="submit" icon="search">
        Search
      </Button>
      {children}
    </form>
  )
}

/** A question as the end of an address: what nobody asked for is left out. */
export function addressed(query: Record<string, string | null>): string {
  const asked = new URLSearchParams(Object.entries(query).flatMap(([name, value]) => (value === null ? [] : [[name, value]]))).toString()
  return asked && `?${asked}`
}

/** A day as the server wants an instant. */
export const instant = (day: string | undefined): string | null => (day ? `${day}T00:00:00Z` : null)

export const number = (value: number): string => value.toLocaleString('en')

const DAY_MS = 86_400_000

/** Every day from the first of these to the last, in order: a day that nothing is known of stands in a chart, too. */
export function allDays(days: readonly string[]): string[] {
  const known = days.map((day) => Date.parse(day)).filter(Number.isFinite)
  const found: string[] = []
  for (let at = Math.min(...known); at <= Math.max(...known) && found.length < 400; at += DAY_MS) found.push(new Date(at).toISOString().slice(0, 10))
  return found
}

/** A secret that is shown once. */
export function Once({ what, secret, onClose }: { what: string; secret: string | null; onClose: () => void }) {
  return (
    <Dialog open={secret !== null} onClose={onClose} title={what} firm actions={<Button look="main" onClick={onClose}>I have kept it</Button>}>
      <Note tone="warn">It is shown this once. Whoever has it may do what it allows.</Note>
      <code className="rounded bg-raised px-2 py-1 font-mono text-sm break-all">{secret}</code>
      <div>
        <Copy text={secret ?? ''} />
      </div>
    </Dialog>
  )
}
