import { useEffect, useRef, useState, type KeyboardEvent } from 'react'
import { Button, IconButton } from './Button'
import type { Span } from './plain'

const MOST = 100_000

/** Lines of a log that have a text, up to the byte at which the search goes on. */
export interface LogHits {
  found: number[]
  offset: number
  next_offset: number
  size: number
}

interface Found {
  lines: readonly number[]
  busy: boolean
  wrong: string
}

const NOTHING: Found = { lines: [], busy: false, wrong: '' }

/** All lines that have `text`, stretch by stretch; a log that has grown to `grown` lines is searched on. */
function useHits(find: (text: string, offset: number, signal: AbortSignal) => Promise<LogHits>, text: string, grown: number | null): Found {
  const [found, setFound] = useState(NOTHING)
  const place = useRef({ text: '', next: 0, lines: [] as number[] })
  useEffect(() => {
    if (text === '') return setFound(NOTHING)
    if (place.current.text !== text) place.current = { text, next: 0, lines: [] }
    const at = place.current
    const stop = new AbortController()
    const go = async () => {
      for (let more = true; more && at.lines.length < MOST; ) {
        const hits = await find(text, at.next, stop.signal)
        const last = at.lines.at(-1) ?? 0
        at.lines = [...at.lines, ...hits.found.filter((line) => line > last)]
        more = hits.next_offset > at.next && hits.next_offset < hits.size
        at.next = hits.next_offset
        setFound({ lines: at.lines, busy: more, wrong: '' })
      }
    }
    setFound((was) => ({ ...was, lines: at.lines, busy: true }))
    go().catch((error: unknown) => {
      if (!stop.signal.aborted) setFound({ lines: at.lines, busy: false, wrong: error instanceof Error ? error.message : 'it could not be searched' })
    })
    return () => stop.abort()
  }, [find, text, grown])
  return found
}

interface Props {
  find: (text: string, offset: number, signal: AbortSignal) => Promise<LogHits>
  /** What is looked for: it belongs into the address. */
  text: string
  onText: (text: string) => void
  /** How many lines there are by now, and the chosen one. */
  grown: number | null
  at: number | undefined
  onPlace: (line: number) => void
}

/** Looks for a text in a whole log, not only in what is read of it: Enter goes to the next line, Shift Enter back. */
export function LogSearch({ find, text, onText, grown, at = 0, onPlace }: Props) {
  const [typed, setTyped] = useState(text)
  const { lines, busy, wrong } = useHits(find, text, grown)
  const [led, setLed] = useState(text)
  const first = lines.find((line) => line >= at) ?? lines[0]
  useEffect(() => {
    if (text === led || first === undefined) return
    setLed(text)
    onPlace(first)
  }, [text, led, first, onPlace])
  const step = (back: boolean) => {
    const next = back ? (lines.findLast((line) => line < at) ?? lines.at(-1)) : (lines.find((line) => line > at) ?? lines[0])
    if (next !== undefined) onPlace(next)
  }
  const press = (event: KeyboardEvent) => {
    if (event.key === 'Escape' && (typed || text)) {
      setTyped('')
      onText('')
    } else if (event.key !== 'Enter') return
    else if (typed.trim() === text) step(event.shiftKey)
    else onText(typed.trim())
    event.preventDefault()
    event.stopPropagation()
  }
  const number = lines.indexOf(at) + 1
  const count = `${lines.length.toLocaleString('en')}${lines.length >= MOST ? ' or more' : ''}`
  return (
    <search className="flex flex-wrap items-center gap-1">
      <input
        type="search"
        aria-label="Find in the log"
        placeholder="Find"
        maxLength={200}
        autoComplete="off"
        spellCheck={false}
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
        onKeyDown={press}
        className="min-h-7 w-40 rounded-md border border-edge bg-panel px-2 placeholder:text-muted"
      />
      <span role="status" className="text-muted">
        {wrong || (text === '' ? '' : lines.length > 0 ? `${number > 0 ? `${number.toLocaleString('en')} of ` : ''}${count} ${lines.length === 1 ? 'line' : 'lines'}${busy ? '…' : ''}` : busy ? 'Looking…' : 'Not found')}
      </span>
      {lines.length > 0 && (
        <>
          <Button small onClick={() => step(true)}>
            Previous
          </Button>
          <Button small onClick={() => step(false)}>
            Next
          </Button>
          <IconButton
            icon="close"
            label="End the search"
            className="size-7!"
            onClick={() => {
              setTyped('')
              onText('')
            }}
          />
        </>
      )}
    </search>
  )
}

/** A line's spans with what is looked for marked in them. */
export function marked(spans: readonly Span[], text: string): readonly Span[] {
  const wanted = text.toLowerCase()
  const whole = spans.map((span) => span.text).join('')
  const low = whole.toLowerCase()
  if (!wanted || low.length !== whole.length || !low.includes(wanted)) return spans
  const found: Span[] = []
  let from = 0
  for (const span of spans) {
    const end = from + span.text.length
    for (let at = from; at < end; ) {
      const hit = low.lastIndexOf(wanted, at)
      const inside = hit >= 0 && at < hit + wanted.length
      const next = inside ? hit + wanted.length : low.indexOf(wanted, at)
      const until = Math.min(end, next < 0 ? end : next)
      found.push({ text: whole.slice(at, until), look: `${span.look}${inside ? ' bg-accent text-on-accent' : ''}` })
      at = until
    }
    from = end
  }
  return found
}
