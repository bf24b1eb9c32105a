import { useState, type KeyboardEvent, type PointerEvent } from 'react'
import { harmless } from './plain'

export interface Series {
  name: string
  /** One per place of `at`; null: nothing was measured there. */
  values: readonly (number | null)[]
}

interface Props {
  label: string
  /** Names of the places from left to right: days, versions, runs. */
  at: readonly string[]
  series: readonly Series[]
  /** Bars where places have no order between them, such as names of tools. */
  kind?: 'line' | 'bar'
  format?: (value: number) => string
  /** Highest value of the axis; that of the values where it is missing. */
  most?: number
}

const WIDE = 100
const HIGH = 40
/** Each with a pattern of its own: nothing is told by colour alone. */
const LOOKS = [
  ['stroke-accent', 'fill-accent', ''],
  ['stroke-warn', 'fill-warn', '6 3'],
  ['stroke-good', 'fill-good', '2 3'],
  ['stroke-bad', 'fill-bad', '8 3 2 3'],
] as const
const plain = (value: number): string => value.toLocaleString('en', { maximumFractionDigits: 2 })

/**
 * Numbers over time or beside each other. The pointer and the arrow keys go from place to place and tell exact values;
 * a button shows the same as a table.
 */
export function Chart({ label, at, series, kind: wanted = 'line', format = plain, most }: Props) {
  const kind = at.length === 1 ? 'bar' : wanted // a line of one point is a dot in the void
  const [here, setHere] = useState<number | null>(null)
  const [table, setTable] = useState(false)
  const top = most ?? Math.max(...series.flatMap((one) => one.values.map((value) => value ?? 0)), 0)
  const last = at.length - 1
  const place = Math.min(here ?? last, last)
  const said = (n: number): string => `${at[n] ?? ''}: ${series.map((one) => `${one.name} ${shown(one.values[n], format)}`).join(', ')}`
  if (at.length === 0) return null
  return (
    <figure className="flex min-w-0 flex-col gap-1 rounded-lg border border-line bg-panel p-3">
      <figcaption className="flex flex-wrap items-baseline justify-between gap-x-3">
        <span className="text-sm font-medium">{label}</span>
        <button type="button" onClick={() => setTable(!table)} className="text-sm text-accent underline" aria-label={`${table ? 'As a chart' : 'As a table'}: ${label}`}>
          {table ? 'As a chart' : 'As a table'}
        </button>
      </figcaption>
      {table ? <Rows label={label} at={at} series={series} format={format} /> : (
        <>
          <div className="flex justify-between text-sm text-muted" aria-hidden>
            <span>{format(top)}</span>
            <span className="text-text">{harmless(said(place))}</span>
          </div>
          <Plot label={label} kind={kind} count={at.length} series={series} top={top} place={here} now={Math.max(place, 0)} said={harmless(said(place))} onPlace={setHere} />
          <div className="flex justify-between text-sm text-muted" aria-hidden>
            <span>{harmless(at[0] ?? '')}</span>
            {at.length > 1 && <span>{harmless(at[last] ?? '')}</span>}
          </div>
          {series.length > 1 && <Legend series={series} />}
        </>
      )}
    </figure>
  )
}

const shown = (value: number | null | undefined, format: (value: number) => string): string => (value === null || value === undefined ? 'none' : format(value))
const left = (n: number, count: number, kind: 'line' | 'bar'): number => (kind === 'bar' || count === 1 ? ((n + 0.5) / count) * WIDE : (n / (count - 1)) * WIDE)

interface PlotProps {
  label: string
  kind: 'line' | 'bar'
  count: number
  series: readonly Series[]
  top: number
  place: number | null
  now: number
  said: string
  onPlace: (place: number | null) => void
}

function Plot({ label, kind, count, series, top, place, now, said, onPlace }: PlotProps) {
  const point = (event: PointerEvent<HTMLElement>) => {
    const box = event.currentTarget.getBoundingClientRect()
    const share = (event.clientX - box.left) / Math.max(1, box.width)
    const n = kind === 'bar' || count === 1 ? Math.floor(share * count) : Math.round(share * (count - 1))
    onPlace(Math.max(0, Math.min(count - 1, n)))
  }
  const press = (event: KeyboardEvent) => {
    const to = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, Home: 0, End: count - 1, PageUp: now + 10, PageDown: now - 10 }[event.key]
    if (to === undefined) return
    event.preventDefault()
    onPlace(Math.max(0, Math.min(count - 1, to)))
  }
  return (
    <div role="slider" tabIndex={0} aria-label={label} aria-valuemin={0} aria-valuemax={count - 1} aria-valuenow={now} aria-valuetext={said} onPointerMove={point} onPointerLeave={() => onPlace(null)} onKeyDown={press} className="cursor-crosshair">
      <svg aria-hidden viewBox={`0 0 ${WIDE} ${HIGH}`} preserveAspectRatio="none" className="h-32 w-full overflow-visible border-b border-edge">
        {series.map((one, n) => (
          <Drawn key={one.name} of={one.values} look={n % LOOKS.length} kind={kind} top={top} lane={n} lanes={series.length} />
        ))}
        {place !== null && <line x1={left(place, count, kind)} x2={left(place, count, kind)} y1={0} y2={HIGH} vectorEffect="non-scaling-stroke" className="stroke-edge" />}
      </svg>
    </div>
  )
}

function Drawn({ of, look, kind, top, lane, lanes }: { of: readonly (number | null)[]; look: number; kind: 'line' | 'bar'; top: number; lane: number; lanes: number }) {
  const [stroke, fill, dashes] = LOOKS[look] ?? LOOKS[0]
  const high = (value: number): number => (top > 0 ? (value / top) * (HIGH - 1) : 0)
  if (kind === 'bar') {
    const slot = WIDE / of.length
    const wide = slot * (of.length === 1 ? 0.3 : 0.8) // one alone would be a wall
    const bar = (value: number, n: number): string => `M${n * slot + (slot - wide) / 2 + (wide / lanes) * lane} ${HIGH}v${-high(value)}h${wide / lanes}v${high(value)}z`
    return <path d={of.map((value, n) => (value === null ? '' : bar(value, n))).join('')} className={fill} />
  }
  const points = of.flatMap((value, n) => (value === null ? [] : [[left(n, of.length, kind), HIGH - high(value), n] as const]))
  const line = points.map(([x, y, n]) => `${n > 0 && of[n - 1] !== null ? 'L' : 'M'}${x} ${y}`).join('')
  // A dot where a line has nothing to join: round ends of a line of no length.
  const dots = points.map(([x, y]) => `M${x} ${y}h0`).join('')
  return (
    <g fill="none" className={stroke}>
      <path d={line} vectorEffect="non-scaling-stroke" strokeWidth={2} strokeDasharray={dashes} />
      {of.length <= 60 && <path d={dots} vectorEffect="non-scaling-stroke" strokeWidth={6} strokeLinecap="round" />}
    </g>
  )
}

function Legend({ series }: { series: readonly Series[] }) {
  return (
    <ul className="flex flex-wrap gap-x-4 text-sm">
      {series.map((one, n) => {
        const [stroke, , dashes] = LOOKS[n % LOOKS.length] ?? LOOKS[0]
        return (
          <li key={one.name} className="flex items-center gap-1.5">
            <svg aria-hidden viewBox="0 0 24 4" className="h-1 w-6">
              <path d="M0 2h24" fill="none" strokeWidth={3} strokeDasharray={dashes} className={stroke} />
            </svg>
            {harmless(one.name)}
          </li>
        )
      })}
    </ul>
  )
}

function Rows({ label, at, series, format }: Required<Pick<Props, 'label' | 'at' | 'series' | 'format'>>) {
  return (
    <div role="region" aria-label={`${label}: values`} tabIndex={0} className="max-h-64 overflow-auto">
      <table aria-label={label} className="w-full text-sm">
        <thead>
          <tr className="text-left text-muted">
            <td />
            {series.map((one) => (
              <th key={one.name} scope="col" className="text-right font-medium">{harmless(one.name)}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {at.map((name, n) => (
            <tr key={`${n} ${name}`} className="border-t border-line">
              <th scope="row" className="text-left font-normal">{harmless(name)}</th>
              {series.map((one) => (
                <td key={one.name} className="text-right">{shown(one.values[n], format)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
