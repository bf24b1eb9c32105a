import { useEffect, useMemo, useState, type KeyboardEvent, type ReactNode } from 'react'
import { Button } from './Button'
import type { Piece } from './colours'
import type { DiffLine, FileDiff } from './diffs'
import { Icon } from './Icon'
import { useInk } from './ink'
import { harmless } from './plain'
import { useWindow } from './windowed'

const ROW_PX = 22

export interface DiffPlace {
  path: string
  side: 'old' | 'new'
  line: number
}

interface Props {
  label: string
  files: readonly FileDiff[]
  /** All files there are, where not all were read yet. */
  total?: number
  /** The end of what was read is in sight: read on. */
  onEnd?: () => void
  /** The chosen place: it belongs into the address. */
  at?: DiffPlace | null
  onPlace?: (at: DiffPlace) => void
  /** Asked for a word on a line; without it lines take none. */
  onRemark?: (at: DiffPlace, text: string, line: string) => void
  /** How many words there are on a line. */
  remarksOn?: (at: DiffPlace) => number
  className?: string
}

type Row = { file: FileDiff; line: null } | { file: FileDiff; line: DiffLine }

const placeOf = (row: Row): DiffPlace | null => {
  if (!row.line || row.line.kind === 'hunk' || row.line.kind === 'note') return null
  const side = row.line.kind === 'deleted' ? 'old' : 'new'
  const line = side === 'old' ? row.line.old : row.line.new
  return line === null ? null : { path: row.file.path, side, line }
}
const same = (one: DiffPlace | null | undefined, other: DiffPlace | null): boolean => !!one && !!other && one.path === other.path && one.side === other.side && one.line === other.line

/** A difference of any size, to be read: file by file, both line numbers, only what can be seen in the document. */
export function DiffReview({ label, files, total = files.length, onEnd, at, onPlace, onRemark, remarksOn, className = 'h-[60vh]' }: Props) {
  const [shut, setShut] = useState<ReadonlySet<string>>(new Set())
  const rows = useMemo(() => rowsOf(files, shut), [files, shut])
  const view = useWindow(rows.length, ROW_PX)
  const [active, setActive] = useState(0)
  const { show } = view
  const seen = rows.slice(view.from, view.to)
  const ink = useInk(seen.map((row) => row.file))
  useEffect(() => {
    if (view.atEnd && files.length < total) onEnd?.()
  }, [view.atEnd, files.length, total, onEnd])
  // A place in the address is shown once, when its lines are there.
  const [led, setLed] = useState('')
  const wanted = at ? `${at.path}:${at.side}:${at.line}` : ''
  useEffect(() => {
    if (!wanted || led === wanted) return
    const found = rows.findIndex((row) => same(at, placeOf(row)))
    if (found < 0) return
    setLed(wanted)
    setActive(found)
    show(found, 'center')
  }, [wanted, led, rows, at, show])
  const go = (row: number) => {
    const to = Math.max(0, Math.min(rows.length - 1, row))
    setActive(to)
    show(to)
    const place = rows[to] && placeOf(rows[to])
    if (place) {
      setLed(`${place.path}:${place.side}:${place.line}`)
      onPlace?.(place)
    }
  }
  const toggle = (path: string) =>
    setShut((was) => {
      const next = new Set(was)
      if (!next.delete(path)) next.add(path)
      return next
    })
  const jump = (path: string) => {
    const row = rows.findIndex((one) => !one.line && one.file.path === path)
    if (row < 0) return
    setActive(row)
    show(row, 'start')
  }
  const onKey = (event: KeyboardEvent) => {
    if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey) return
    const files_ = (step: 1 | -1) => nextFile(rows, active, step)
    const to = { ArrowDown: active + 1, ArrowUp: active - 1, j: active + 1, k: active - 1, PageDown: active + Math.floor(view.fits), PageUp: active - Math.floor(view.fits), Home: 0, End: rows.length - 1, n: files_(1), p: files_(-1) }[event.key]
    const here = rows[active]
    if (to !== undefined) go(to)
    else if (event.key === 'Enter' && here && !here.line) toggle(here.file.path)
    else return
    event.preventDefault()
  }
  const chosen = rows[active] ? placeOf(rows[active]) : null
  return (
    <div className={`flex min-w-0 flex-col rounded-lg border border-line bg-panel ${className}`}>
      <div className={`grid min-h-0 grow ${total > 1 ? 'lg:grid-cols-[16rem_1fr]' : ''}`}>
        {total > 1 && <FileList files={files} total={total} onPick={jump} />}
        <div ref={view.frame} role="region" aria-label={label} tabIndex={0} onKeyDown={onKey} className="min-h-0 overflow-auto font-mono text-[0.8rem] leading-[22px] focus-visible:-outline-offset-2">
          <div className="relative min-w-full" style={{ height: view.height }}>
            <div className="absolute top-0 left-0 w-max min-w-full" style={{ transform: `translateY(${view.shift}px)` }}>
              {seen.map((row, n) => (
                <DiffRow key={view.from + n} row={row} pieces={row.line ? ink(row.file, row.line) : undefined} active={view.from + n === active} shut={shut.has(row.file.path)} remarks={remarksOn ? remarksOn(placeOf(row) ?? NOWHERE) : 0} onPick={() => (row.line ? go(view.from + n) : toggle(row.file.path))} />
              ))}
            </div>
          </div>
        </div>
      </div>
      {onRemark && chosen && <Remark at={chosen} onRemark={(to, text) => onRemark(to, text, rows[active]?.line?.text ?? '')} />}
    </div>
  )
}

const NOWHERE: DiffPlace = { path: '', side: 'new', line: -1 }

function rowsOf(files: readonly FileDiff[], shut: ReadonlySet<string>): Row[] {
  const rows: Row[] = []
  for (const file of files) {
    rows.push({ file, line: null })
    if (shut.has(file.path)) continue
    for (const line of file.lines) rows.push({ file, line })
    if (file.note) rows.push({ file, line: { kind: 'note', old: null, new: null, text: file.note } })
  }
  return rows
}

function nextFile(rows: readonly Row[], from: number, step: 1 | -1): number {
  for (let at = from + step; at >= 0 && at < rows.length; at += step) if (rows[at]?.line === null) return at
  return from
}

const GROUND: Record<DiffLine['kind'], string> = { hunk: 'bg-raised text-muted', same: '', added: 'bg-added', deleted: 'bg-removed', note: 'text-muted italic' }
const SIGN: Record<DiffLine['kind'], string> = { hunk: '', same: ' ', added: '+', deleted: '-', note: '' }
const NUMBER = 'inline-block w-12 shrink-0 pr-2 text-right text-muted select-none'

function DiffRow({ row, pieces, active, shut, remarks, onPick }: { row: Row; pieces: readonly Piece[] | undefined; active: boolean; shut: boolean; remarks: number; onPick: () => void }) {
  const edge = active ? 'shadow-[inset_3px_0_0_var(--accent)]' : ''
  if (!row.line)
    return (
      <div onClick={onPick} className={`sticky left-0 flex h-[22px] cursor-pointer items-center gap-2 border-y border-line bg-raised px-2 font-sans text-sm whitespace-pre ${edge}`}>
        <Icon name={shut ? 'right' : 'down'} />
        <bdi className="font-medium">{harmless(row.file.path).slice(0, 300)}</bdi>
        <Change file={row.file} />
      </div>
    )
  const { line } = row
  return (
    <div onClick={onPick} className={`flex h-[22px] whitespace-pre ${GROUND[line.kind]} ${edge}`}>
      <span className={NUMBER}>{line.old ?? ''}</span>
      <span className={NUMBER}>{line.new ?? ''}</span>
      <span className="inline-block w-5 shrink-0 select-none">{SIGN[line.kind]}</span>
      <bdi dir="ltr">
        {pieces ? pieces.map((piece, n) => (piece.look ? <span key={n} className={piece.look}>{piece.text}</span> : piece.text)) : line.text}
      </bdi>
      {remarks > 0 && <span className="ml-4 rounded bg-accent px-1.5 font-sans text-xs text-on-accent">{remarks === 1 ? '1 comment' : `${remarks} comments`}</span>}
    </div>
  )
}

function Change({ file }: { file: FileDiff }) {
  return (
    <span className="flex gap-1.5 text-sm">
      <span className="text-muted">{file.status}</span>
      <span className="text-good">+{file.added}</span>
      <span className="text-bad">−{file.deleted}</span>
    </span>
  )
}

function FileList({ files, total, onPick }: { files: readonly FileDiff[]; total: number; onPick: (path: string) => void }) {
  const view = useWindow(files.length, 26)
  return (
    <div className="hidden min-h-0 flex-col border-r border-line lg:flex">
      <p className="border-b border-line px-3 py-1 text-sm text-muted">
        {total === 1 ? '1 file' : `${total.toLocaleString('en')} files`}
        {files.length < total && `, ${files.length.toLocaleString('en')} read`}
      </p>
      <div ref={view.frame} role="region" aria-label="Files" tabIndex={0} className="min-h-0 grow overflow-auto focus-visible:-outline-offset-2">
        <ul className="relative" style={{ height: view.height }}>
          {files.slice(view.from, view.to).map((file, n) => (
            <li key={file.path} className="absolute inset-x-0 top-0" style={{ transform: `translateY(${view.shift + n * 26}px)` }}>
              <button type="button" tabIndex={-1} onClick={() => onPick(file.path)} title={harmless(file.path).slice(0, 300)} className="flex h-[26px] w-full items-center gap-2 px-3 text-left text-sm hover:bg-raised">
                <bdi className="min-w-0 grow truncate">{harmless(file.path).slice(0, 300)}</bdi>
                <span className="text-good">+{file.added}</span>
                <span className="text-bad">−{file.deleted}</span>
              </button>
            </li>
          ))}
        </ul>
      </div>
    </div>
  )
}

function Remark({ at, onRemark }: { at: DiffPlace; onRemark: (at: DiffPlace, text: string) => void }): ReactNode {
  const [text, setText] = useState('')
  const put = () => {
    if (!text.trim()) return
    onRemark(at, text.trim())
    setText('')
  }
  return (
    <form
      className="flex flex-wrap items-center gap-2 border-t border-line p-2"
      onSubmit={(event) => {
        event.preventDefault()
        put()
      }}
    >
      <label className="flex min-w-0 grow items-center gap-2 text-sm">
        <span className="max-w-[40%] truncate text-muted">
          <bdi>{harmless(at.path)}</bdi>, line {at.line}
          {at.side === 'old' && ' (removed)'}
        </span>
        <input aria-label={`Comment on line ${at.line}`} value={text} onChange={(event) => setText(event.target.value)} maxLength={4000} placeholder="What should be different here?" className="min-w-40 grow rounded-md border border-edge bg-panel px-2 py-1 placeholder:text-muted" />
      </label>
      <Button type="submit" small disabled={!text.trim()}>
        Add comment
      </Button>
    </form>
  )
}
