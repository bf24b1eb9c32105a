import { useCallback, useEffect, useRef, useState, type KeyboardEvent, type ReactNode } from 'react'
import { Button } from './Button'
import { LogSearch, marked, type LogHits } from './LogSearch'
import { spansOf, type Span } from './plain'
import { useWindow } from './windowed'

const ROW_PX = 20
const BLOCK = 200
const KEPT_BLOCKS = 60

/** A piece of a log as the server gives it. */
export interface LogPiece {
  text: string
  /** Number of the line in which the text begins, from 1. */
  line: number
  offset: number
  next_offset: number
  size: number
  ended: boolean
  note: string
}

interface Props {
  label: string
  /** The text from a line on, as much of it as one reply holds. */
  read: (line: number, signal: AbortSignal) => Promise<LogPiece>
  /** The last line. */
  tail: (signal: AbortSignal) => Promise<LogPiece>
  /** Calls back whenever the log has grown; returns how to stop. Without it the log is whole. */
  grows?: (grown: () => void) => () => void
  /** The line in the address, and where a chosen one is told. */
  at?: number | undefined
  onPlace?: (line: number) => void
  /** Searches the whole log; without it there is no search. */
  find?: (text: string, offset: number, signal: AbortSignal) => Promise<LogHits>
  /** What is looked for, and where another text is told. */
  text?: string | undefined
  onText?: (text: string) => void
  actions?: ReactNode
  empty: ReactNode
  className?: string
}

type Block = { lines: Span[][]; whole: boolean }

/**
 * A log of any length. Only what can be seen is read and in the document; lines are cut before they are laid out.
 *
 * Blocks of lines are read by their number; of those, the ones looked at last are kept.
 */
export function LogView({ label, read, tail, grows, at, onPlace, find, text = '', onText, actions, empty, className = 'h-[60vh]' }: Props) {
  const [lines, setLines] = useState<number | null>(null)
  const [note, setNote] = useState('')
  const [follow, setFollow] = useState(at === undefined)
  const [, redraw] = useState(0)
  const blocks = useRef(new Map<number, Block>())
  const asked = useRef(new Map<number, AbortController>())
  const view = useWindow(lines ?? 0, ROW_PX, 12)
  const { show } = view

  const look = useCallback(async () => {
    const stop = new AbortController()
    const last = await tail(stop.signal)
    const unfinished = last.text !== '' ? 0 : 1 // behind the last line break stands nothing
    const count = last.size === 0 ? 0 : last.line - unfinished
    // What was the end has more now.
    for (const [number, block] of blocks.current) if (!block.whole) blocks.current.delete(number)
    setNote(last.note)
    setLines(count)
  }, [tail])
  useEffect(() => {
    let gone = false
    const again = () => void look().catch((error: unknown) => !gone && setNote(error instanceof Error ? error.message : ''))
    again()
    const stop = grows?.(again)
    const running = asked.current
    return () => {
      gone = true
      stop?.()
      for (const one of running.values()) one.abort()
      running.clear()
    }
  }, [look, grows])

  useEffect(() => {
    if (lines === null) return
    const first = Math.floor(view.from / BLOCK)
    const last = Math.floor(Math.max(0, view.to - 1) / BLOCK)
    for (const [number, stop] of asked.current) if (number < first - 1 || number > last + 1) {
      stop.abort()
      asked.current.delete(number)
    }
    for (let number = first; number <= last; number++) {
      if (blocks.current.has(number) || asked.current.has(number) || lines === 0) continue
      const stop = new AbortController()
      asked.current.set(number, stop)
      readBlock(read, number * BLOCK + 1, lines, stop.signal).then(
        (block) => {
          asked.current.delete(number)
          blocks.current.set(number, block)
          forget(blocks.current, number)
          redraw((n) => n + 1)
        },
        () => asked.current.delete(number),
      )
    }
  }, [view.from, view.to, lines, read])

  useEffect(() => {
    if (lines && follow) show(lines - 1)
  }, [lines, follow, show])
  const [led, setLed] = useState(0)
  useEffect(() => {
    if (!lines || !at || led === at) return
    setLed(at)
    show(at - 1, 'center')
  }, [at, led, lines, show])

  const onKey = (event: KeyboardEvent) => {
    if (event.key === 'End' && lines) show(lines - 1)
    else if (event.key === 'Home') show(0, 'start')
    else return
    setFollow(event.key === 'End')
    event.preventDefault()
  }
  return (
    <div className={`flex min-w-0 flex-col rounded-lg border border-line bg-panel ${className}`}>
      <div className="flex flex-wrap items-center gap-2 border-b border-line px-3 py-1.5 text-sm">
        <span className="text-muted" role="status">
          {lines === null ? '' : lines === 1 ? '1 line' : `${lines.toLocaleString('en')} lines`}
        </span>
        {find && onText && onPlace && lines !== null && lines > 0 && (
          <LogSearch
            find={find}
            text={text}
            onText={onText}
            grown={lines}
            at={at}
            onPlace={(line) => {
              setFollow(false)
              onPlace(line)
            }}
          />
        )}
        <span className="grow" />
        {actions}
        {grows && (
          <Button small aria-pressed={follow} onClick={() => setFollow(!follow)}>
            {follow ? 'Following' : 'Follow'}
          </Button>
        )}
        <Button small onClick={() => show(0, 'start')}>
          Top
        </Button>
        <Button small onClick={() => lines && show(lines - 1)}>
          End
        </Button>
      </div>
      {lines === 0 ? (
        <div className="p-4 text-muted">{note || empty}</div>
      ) : (
        <div
          ref={view.frame}
          role="region"
          aria-label={label}
          tabIndex={0}
          onKeyDown={onKey}
          onWheel={(event) => event.deltaY < 0 && setFollow(false)}
          className="min-h-0 grow overflow-auto font-mono text-[0.8rem] leading-[20px] focus-visible:-outline-offset-2"
        >
          <div className="relative min-w-full" style={{ height: view.height }}>
            <div className="absolute top-0 left-0 w-max min-w-full" style={{ transform: `translateY(${view.shift}px)` }}>
              {Array.from({ length: view.to - view.from }, (_, n) => {
                const row = view.from + n
                return <LogLine key={row} number={row + 1} spans={blocks.current.get(Math.floor(row / BLOCK))?.lines[row % BLOCK]} chosen={at === row + 1} text={text} onPick={onPlace} />
              })}
            </div>
          </div>
        </div>
      )}
    </div>
  )
}

function LogLine({ number, spans: raw, chosen, text, onPick }: { number: number; spans: Span[] | undefined; chosen: boolean; text: string; onPick: ((line: number) => void) | undefined }) {
  const spans = raw && text ? marked(raw, text) : raw
  return (
    <div data-line={number} onClick={() => onPick?.(number)} className={`flex h-[20px] whitespace-pre ${chosen ? 'bg-raised shadow-[inset_3px_0_0_var(--accent)]' : ''}`}>
      <span className="inline-block w-20 shrink-0 pr-3 text-right text-muted select-none">{number}</span>
      <bdi dir="ltr" className="pr-4">
        {spans === undefined ? '' : spans.length === 1 && !spans[0]?.look ? spans[0]?.text : spans.map((span, n) => (
          <span key={n} className={span.look}>
            {span.text}
          </span>
        ))}
      </bdi>
    </div>
  )
}

/** The lines of a block, in as many replies as it takes; of a line that is longer than a reply its beginning. */
async function readBlock(read: Props['read'], first: number, total: number, signal: AbortSignal): Promise<Block> {
  const lines: Span[][] = []
  const wanted = Math.min(BLOCK, total - first + 1)
  while (lines.length < wanted) {
    const piece = await read(first + lines.length, signal)
    if (piece.text === '') break
    const parts = piece.text.split('\n')
    const rest = parts.pop() ?? ''
    for (const part of parts.slice(0, wanted - lines.length)) lines.push(spansOf(part))
    const isLast = piece.next_offset >= piece.size
    if (lines.length < wanted && (parts.length === 0 || isLast) && rest !== '') lines.push([...spansOf(rest), ...(isLast ? [] : [{ text: ' … the line goes on', look: 'text-muted' }])])
    if (isLast) break
  }
  return { lines, whole: lines.length === BLOCK && first + BLOCK <= total }
}

function forget(blocks: Map<number, Block>, near: number): void {
  if (blocks.size <= KEPT_BLOCKS) return
  const far = [...blocks.keys()].sort((a, b) => Math.abs(b - near) - Math.abs(a - near))
  for (const number of far.slice(0, blocks.size - KEPT_BLOCKS)) blocks.delete(number)
}
