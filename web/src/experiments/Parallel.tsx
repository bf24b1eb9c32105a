import { short, type Value } from '../ui/curves'
import { harmless, shownLine } from '../ui/plain'

export interface Axis {
  name: string
  /** One for each line, from the first to the last; null where it has none. */
  values: readonly (Value | string | boolean | null)[]
}

interface Props {
  label: string
  axes: readonly Axis[]
  /** Names of the lines, the best first; the chosen one stands out. */
  lines: readonly string[]
  chosen: number
  onChoose: (line: number) => void
}

const HIGH = 220
const MOST = 100

/** For each axis where its values lie, 0 at the bottom and 1 at the top: numbers by size, words beside each other. */
function placed({ values }: Axis): { at: readonly (number | null)[]; low: string; high: string } {
  const numbers = values.filter((one): one is number => typeof one === 'number' && Number.isFinite(one))
  const other = values.some((one) => one !== null && typeof one !== 'number')
  if (numbers.length > 0 && !other) {
    const [low, high] = [Math.min(...numbers), Math.max(...numbers)]
    // What was searched by orders of magnitude is looked at by them.
    const log = low > 0 && high / low >= 100
    const by = (one: number): number => (high === low ? 0.5 : log ? Math.log(one / low) / Math.log(high / low) : (one - low) / (high - low))
    return { at: values.map((one) => (typeof one === 'number' && Number.isFinite(one) ? by(one) : null)), low: short(low), high: short(high) }
  }
  const words = [...new Set(values.map(String))].sort()
  return { at: values.map((one) => (one === null ? null : words.length === 1 ? 0.5 : words.indexOf(String(one)) / (words.length - 1))), low: words[0] ?? '', high: words.at(-1) ?? '' }
}

/**
 * Trials as lines over axes: which params the good ones have in common. A press on a line chooses it. The table of the
 * trials has all of it as numbers, and chooses for those who do not point.
 */
export function Parallel({ label, axes, lines, chosen, onChoose }: Props) {
  const known = axes.map((axis) => ({ name: axis.name, ...placed(axis) }))
  const across = (n: number): number => ((n + 0.5) / known.length) * 1000
  const drawn = lines.slice(0, MOST).map((_, line) => {
    const points = known.flatMap(({ at }, n) => (at[line] === null || at[line] === undefined ? [] : [`${across(n).toFixed(1)} ${(HIGH - 12 - at[line] * (HIGH - 24)).toFixed(1)}`]))
    return points.length > 1 ? `M${points.join('L')}` : ''
  })
  return (
    <figure aria-label={label} className="flex min-w-0 flex-col gap-1 rounded-lg border border-line bg-panel p-3">
      <figcaption className="flex flex-wrap justify-between gap-x-3 text-sm">
        <span className="font-medium">{label}</span>
        <span className="text-muted"><bdi>{harmless(lines[chosen] ?? '')}</bdi></span>
      </figcaption>
      <div className="grid text-center text-sm" style={{ gridTemplateColumns: `repeat(${known.length}, minmax(0, 1fr))` }} aria-hidden>
        {known.map(({ name, high }) => <span key={name} className="min-w-0"><b className="block truncate font-medium" title={harmless(name)}><bdi>{shownLine(name, 60)}</bdi></b><span className="block truncate text-muted"><bdi>{shownLine(high, 40)}</bdi></span></span>)}
      </div>
      <svg aria-hidden viewBox={`0 0 1000 ${HIGH}`} preserveAspectRatio="none" className="h-56 w-full">
        {known.map(({ name }, n) => <line key={name} x1={across(n)} x2={across(n)} y1={12} y2={HIGH - 12} vectorEffect="non-scaling-stroke" className="stroke-edge" />)}
        {drawn.map((path, line) => path !== '' && line !== chosen && <path key={line} d={path} fill="none" vectorEffect="non-scaling-stroke" strokeWidth={1.5} className="pointer-events-none stroke-ink-1 opacity-50" />)}
        {drawn[chosen] && <path d={drawn[chosen]} fill="none" vectorEffect="non-scaling-stroke" strokeWidth={3} className="pointer-events-none stroke-ink-2" />}
        {drawn.map((path, line) => path !== '' && <path key={line} d={path} fill="none" vectorEffect="non-scaling-stroke" strokeWidth={12} onClick={() => onChoose(line)} className="cursor-pointer stroke-transparent" />)}
      </svg>
      <div className="grid text-center text-sm text-muted" style={{ gridTemplateColumns: `repeat(${known.length}, minmax(0, 1fr))` }} aria-hidden>
        {known.map(({ name, low }) => <span key={name} className="min-w-0 truncate"><bdi>{shownLine(low, 40)}</bdi></span>)}
      </div>
      {lines.length > MOST && <p className="text-sm text-muted">The best {MOST} of {lines.length.toLocaleString('en')} are drawn.</p>}
    </figure>
  )
}
