import { useMemo, useState, type KeyboardEvent, type PointerEvent } from 'react'
import { Button } from './Button'
import { across, frameOf, HIGH, lineOf, placesOf, pointAt, short, smoothed, unshown, upward, WIDE, asNumber, type Curve, type Frame } from './curves'
import { harmless } from './plain'

export type { Curve } from './curves'

interface Props {
  label: string
  curves: readonly Curve[]
  /** A place on the axis in words: a step, a time. */
  place?: (at: number) => string
  log?: boolean
  /** How far the drawn mean looks back, 0 to 0.99; the values themselves stand behind it, faint. */
  smooth?: number
  /** Taller, where it is the only one. */
  tall?: boolean
}

const INKS = ['stroke-ink-1', 'stroke-ink-2', 'stroke-ink-3', 'stroke-ink-4', 'stroke-ink-5', 'stroke-ink-6', 'stroke-ink-7', 'stroke-ink-8'] as const
const DASHES = ['', '7 4', '2 4', '9 3 2 3'] as const
/** Eight colours, then the same with dashes: with four and more curves nothing is told by colour alone, names stand beside. */
export const lookOf = (n: number): { ink: string; dashes: string } => ({ ink: INKS[n % INKS.length] ?? INKS[0], dashes: DASHES[Math.floor(n / INKS.length) % DASHES.length] ?? '' })
const LISTED = 12

/**
 * Curves over one axis. The pointer and the arrow keys go from place to place and tell exact values; dragging looks
 * closer; a button shows the same as a table.
 */
export function Plot({ label, curves, place = short, log = false, smooth = 0, tall = false }: Props) {
  const [range, setRange] = useState<readonly [number, number] | undefined>(undefined)
  const [here, setHere] = useState<number | null>(null)
  const [table, setTable] = useState(false)
  const frame = useMemo(() => frameOf(curves, log, range), [curves, log, range])
  const places = useMemo(() => (frame ? placesOf(curves, frame) : []), [curves, frame])
  const drawn = useMemo(() => curves.map((curve) => ({ ...curve, points: smoothed(curve.points, smooth) })), [curves, smooth])
  const now = here ?? places.length - 1
  const at = places[Math.max(0, Math.min(now, places.length - 1))]
  const said = at === undefined ? 'nothing' : `${place(at)}: ${curves.slice(0, LISTED).map((curve) => `${curve.name} ${short(pointAt(curve.points, at)?.[1]) || 'none'}`).join(', ')}`
  const odd = curves.map((curve) => [curve.name, unshown(curve, log)] as const).filter(([, what]) => what !== '')
  return (
    <figure className="flex min-w-0 flex-col gap-1 rounded-lg border border-line bg-panel p-3">
      <figcaption className="flex flex-wrap items-baseline justify-between gap-x-3">
        <span className="min-w-0 text-sm font-medium break-all"><bdi>{harmless(label)}</bdi></span>
        <span className="flex gap-3">
          {range && <Button look="quiet" small onClick={() => setRange(undefined)}>All of it</Button>}
          <button type="button" onClick={() => setTable(!table)} className="text-sm text-accent underline" aria-label={`${table ? 'As a chart' : 'As a table'}: ${harmless(label)}`}>
            {table ? 'As a chart' : 'As a table'}
          </button>
        </span>
      </figcaption>
      {!frame ? <p className="text-sm text-muted">Nothing was logged.</p> : table ? <Rows label={label} curves={curves} places={places} place={place} /> : (
        <>
          <div className="flex justify-between gap-3 text-sm text-muted" aria-hidden>
            <span className="whitespace-nowrap">{short(frame.low)} to {short(frame.high)}{frame.log && ', logarithmic'}</span>
            <span className="truncate text-text">{at !== undefined && (curves.length === 1 ? harmless(said) : place(at))}</span>
          </div>
          <Area label={label} curves={curves} drawn={drawn} frame={frame} places={places} now={Math.max(0, now)} at={here === null ? undefined : at} said={harmless(said)} smooth={smooth} tall={tall} onPlace={setHere} onRange={setRange} />
          <div className="flex justify-between gap-3 text-sm text-muted" aria-hidden>
            <span>{place(frame.from)}</span>
            <span>{place(frame.to)}</span>
          </div>
          {curves.length > 1 && <Legend curves={curves} at={at} />}
          {odd.length > 0 && <p className="text-sm text-warn">Not drawn: {odd.slice(0, 6).map(([name, what]) => `${curves.length > 1 ? `${harmless(name)} ` : ''}${what}`).join('; ')}</p>}
        </>
      )}
    </figure>
  )
}

interface AreaProps {
  label: string
  curves: readonly Curve[]
  drawn: readonly Curve[]
  frame: Frame
  places: readonly number[]
  now: number
  at: number | undefined
  said: string
  smooth: number
  tall: boolean
  onPlace: (place: number | null) => void
  onRange: (range: readonly [number, number]) => void
}

const LEAST_DRAG = 0.02

function Area({ label, curves, drawn, frame, places, now, at, said, smooth, tall, onPlace, onRange }: AreaProps) {
  const [drag, setDrag] = useState<readonly [number, number] | null>(null)
  const share = (event: PointerEvent<HTMLElement>): number => {
    const box = event.currentTarget.getBoundingClientRect()
    return Math.max(0, Math.min(1, (event.clientX - box.left) / Math.max(1, box.width)))
  }
  const value = (part: number): number => frame.from + part * (frame.to - frame.from)
  const move = (event: PointerEvent<HTMLElement>) => {
    const part = share(event)
    onPlace(nearest(places, value(part)))
    if (drag) setDrag([drag[0], part])
  }
  const drop = () => {
    if (drag && Math.abs(drag[1] - drag[0]) > LEAST_DRAG) onRange([value(Math.min(...drag)), value(Math.max(...drag))])
    setDrag(null)
  }
  const press = (event: KeyboardEvent) => {
    const to = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, Home: 0, End: places.length - 1, PageUp: now + 10, PageDown: now - 10 }[event.key]
    if (to === undefined) return
    event.preventDefault()
    onPlace(Math.max(0, Math.min(places.length - 1, to)))
  }
  return (
    <div role="slider" tabIndex={0} aria-label={harmless(label)} aria-valuemin={0} aria-valuemax={Math.max(0, places.length - 1)} aria-valuenow={now} aria-valuetext={said} onPointerDown={(event) => setDrag([share(event), share(event)])} onPointerMove={move} onPointerUp={drop} onPointerLeave={() => { onPlace(null); setDrag(null) }} onKeyDown={press} className="cursor-crosshair touch-pan-y">
      <svg aria-hidden viewBox={`0 0 ${WIDE} ${HIGH}`} preserveAspectRatio="none" className={`w-full overflow-visible border-b border-l border-edge ${tall ? 'h-80' : 'h-40'}`}>
        {smooth > 0 && curves.map((curve, n) => <Line key={n} n={n} of={curve} frame={frame} faint />)}
        {drawn.map((curve, n) => <Line key={n} n={n} of={curve} frame={frame} />)}
        {at !== undefined && <line x1={across(at, frame)} x2={across(at, frame)} y1={0} y2={HIGH} vectorEffect="non-scaling-stroke" className="stroke-edge" />}
        {at !== undefined && <Dots curves={drawn} frame={frame} at={at} />}
        {drag && <rect x={Math.min(...drag) * WIDE} width={Math.abs(drag[1] - drag[0]) * WIDE} y={0} height={HIGH} className="fill-accent opacity-15" />}
      </svg>
    </div>
  )
}

/** The place that lies nearest to a value. */
function nearest(places: readonly number[], value: number): number {
  let best = 0
  for (const [n, at] of places.entries()) if (Math.abs(at - value) < Math.abs((places[best] ?? Infinity) - value)) best = n
  return best
}

function Line({ n, of, frame, faint = false }: { n: number; of: Curve; frame: Frame; faint?: boolean }) {
  const { ink, dashes } = lookOf(n)
  const path = useMemo(() => lineOf(of.points, frame), [of, frame])
  // A point alone is a dot, and has to be seen.
  const wide = of.points.length === 1 ? 7 : faint ? 1 : 2
  return <path d={path} fill="none" vectorEffect="non-scaling-stroke" strokeWidth={wide} strokeLinecap="round" strokeLinejoin="round" strokeDasharray={dashes} className={`${ink} ${faint ? 'opacity-30' : ''}`} />
}

function Dots({ curves, frame, at }: { curves: readonly Curve[]; frame: Frame; at: number }) {
  return curves.map((curve, n) => {
    const value = asNumber(pointAt(curve.points, at)?.[1] ?? 'NaN')
    if (!Number.isFinite(value) || (frame.log && value <= 0)) return null
    return <path key={n} d={`M${across(at, frame)} ${upward(value, frame)}h0`} vectorEffect="non-scaling-stroke" strokeWidth={8} strokeLinecap="round" className={lookOf(n).ink} />
  })
}

function Legend({ curves, at }: { curves: readonly Curve[]; at: number | undefined }) {
  return (
    <ul aria-label="Curves" className="flex max-h-40 flex-wrap gap-x-4 gap-y-0.5 overflow-y-auto text-sm" tabIndex={0}>
      {curves.map((curve, n) => (
        <li key={n} className="flex items-center gap-1.5">
          <svg aria-hidden viewBox="0 0 24 4" className="h-1 w-6 shrink-0">
            <path d="M0 2h24" fill="none" strokeWidth={3} strokeDasharray={lookOf(n).dashes} className={lookOf(n).ink} />
          </svg>
          <bdi className="break-all">{harmless(curve.name)}</bdi>
          {at !== undefined && <span className="text-muted">{short(pointAt(curve.points, at)?.[1])}</span>}
        </li>
      ))}
    </ul>
  )
}

const MOST_ROWS = 200

function Rows({ label, curves, places, place }: { label: string; curves: readonly Curve[]; places: readonly number[]; place: (at: number) => string }) {
  const stride = Math.max(1, Math.ceil(places.length / MOST_ROWS))
  const shown = places.filter((_, n) => n % stride === 0 || n === places.length - 1)
  const columns = curves.slice(0, LISTED)
  const values = columns.map((curve) => new Map(curve.points))
  return (
    <div role="region" aria-label={`${harmless(label)}: values`} tabIndex={0} className="max-h-72 overflow-auto">
      <table aria-label={harmless(label)} className="w-full text-sm">
        <thead>
          <tr className="text-left text-muted">
            <td />
            {columns.map((curve, n) => <th key={n} scope="col" className="px-2 text-right font-medium"><bdi>{harmless(curve.name)}</bdi></th>)}
          </tr>
        </thead>
        <tbody>
          {shown.map((at) => (
            <tr key={at} className="border-t border-line">
              <th scope="row" className="text-left font-normal whitespace-nowrap">{place(at)}</th>
              {values.map((of, n) => <td key={n} className="px-2 text-right">{short(of.get(at))}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
      {stride > 1 && <p className="text-sm text-muted">Every {stride.toLocaleString('en')}th of {places.length.toLocaleString('en')} places.</p>}
    </div>
  )
}
