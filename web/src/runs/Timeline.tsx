import { useEffect, useId, useLayoutEffect, useMemo, useRef, useState, type KeyboardEvent, type PointerEvent } from 'react'
import { Button } from '../ui/Button'
import { harmless } from '../ui/plain'
import { duration } from '../ui/Time'
import { took, type Step } from './data'
import { shapeOf, type Bar, type LaneShape } from './layout'

const TRACK_PX = 24
const LANE_GAP_PX = 8
const RULER_PX = 22
const NAME_PX = 96
const MOST_SHOWN = 40
const LONG = 200 // steps beyond this come later: their place is kept

const INK: Record<string, string> = {
  succeeded: 'fill-good', cached: 'fill-good', failed: 'fill-bad', denied: 'fill-bad', timed_out: 'fill-bad',
  running: 'fill-accent', retrying: 'fill-warn', waiting_approval: 'fill-warn', waiting_input: 'fill-warn',
  pending: 'fill-line', skipped: 'fill-line', cancelled: 'fill-edge',
}
const SIGN: Record<string, string> = { succeeded: '✓', cached: '≡', failed: '✕', denied: '✕', timed_out: '✕', running: '▸', retrying: '↻', waiting_approval: '‖', waiting_input: '?', skipped: '–', cancelled: '✕' }
const LIGHT = new Set(['pending', 'skipped'])

interface Props {
  steps: readonly Step[]
  total: number
  over: boolean
  chosen: Step | undefined
  onChoose: (step: Step) => void
}

/** A clock that ticks while something runs. */
function useNow(ticks: boolean): number {
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    if (!ticks) return
    const timer = setInterval(() => setNow(Date.now()), 1000)
    return () => clearInterval(timer)
  }, [ticks])
  return now
}

/** The steps of a run over time, lane by lane: one stop of Tab, arrows choose. As many bars as can be told apart. */
export function Timeline({ steps, total, over, chosen, onChoose }: Props) {
  const [box, setBox] = useState<HTMLDivElement | null>(null)
  const [width, setWidth] = useState(0)
  const [zoom, setZoom] = useState<readonly [number, number]>([0, 1])
  const now = useNow(!over)
  const option = useId()
  const at = chosen ? steps.indexOf(chosen) : -1
  useLayoutEffect(() => {
    if (!box) return
    const look = () => setWidth(Math.max(120, box.clientWidth - NAME_PX - 8))
    look()
    const sized = new ResizeObserver(look)
    sized.observe(box)
    return () => sized.disconnect()
  }, [box])
  const shape = useMemo(() => (width === 0 ? null : shapeOf(steps, width, now, over, zoom)), [steps, width, now, over, zoom])
  const choose = (index: number) => {
    const step = steps[Math.max(0, Math.min(steps.length - 1, index))]
    if (step) onChoose(step)
  }
  const onKey = (event: KeyboardEvent) => {
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: nextLane(steps, at, 1), ArrowUp: nextLane(steps, at, -1), Home: 0, End: steps.length - 1 }[event.key]
    if (to !== undefined) choose(to)
    else if (event.key === '+' || event.key === '=') setZoom(zoomed(zoom, 0.5, shape && at >= 0 ? (shape.x[at] ?? 0) / width : 0.5))
    else if (event.key === '-') setZoom(zoomed(zoom, 2, 0.5))
    else return
    event.preventDefault()
  }
  const brush = useBrush(width, zoom, setZoom)
  const lanes = shape ? placed(shape.lanes) : []
  const height = (lanes.at(-1)?.bottom ?? RULER_PX) + 4
  return (
    <section aria-label="Timeline" className="rounded-lg border border-line bg-panel">
      <div className="flex flex-wrap items-center gap-3 px-3 pt-2 text-sm text-muted">
        <span>
          {total === 1 ? '1 step' : `${total.toLocaleString('en')} steps`}
          {steps.length < total && `, ${steps.length.toLocaleString('en')} read`}
        </span>
        <span aria-hidden="true">✓ done · ≡ from cache · ‖ ? waits · ↻ retried · ✕ failed</span>
        <span className="grow" />
        {(zoom[0] > 0 || zoom[1] < 1) && (
          <Button small onClick={() => setZoom([0, 1])}>
            Whole run
          </Button>
        )}
      </div>
      <div
        ref={setBox}
        role="listbox"
        aria-label="Steps"
        tabIndex={0}
        aria-activedescendant={chosen ? option : undefined}
        onKeyDown={onKey}
        className={`${total > LONG ? 'h-80' : 'max-h-80'} overflow-y-auto p-1 focus-visible:-outline-offset-2`}
      >
        <div role="option" id={option} aria-selected={chosen !== undefined} aria-setsize={total} aria-posinset={at < 0 ? undefined : at + 1} className="sr-only">
          {chosen ? `${chosen.name}, ${chosen.status.replaceAll('_', ' ')}, ${duration(took(chosen.start, chosen.end, now))}` : 'No step is chosen'}
        </div>
        {shape && (
          <svg aria-hidden="true" width={width + NAME_PX} height={height} className="block select-none" onClick={(event) => pick(event.target, choose)} {...brush.on}>
            <Hatch />
            <g transform={`translate(${NAME_PX} 0)`}>
              <rect x={0} y={0} width={width} height={RULER_PX} className="cursor-ew-resize fill-transparent" />
              {shape.ticks.map((tick) => (
                <g key={`${tick.ms}`}>
                  <line x1={tick.x} x2={tick.x} y1={RULER_PX - 4} y2={height} className="stroke-line" />
                  <text x={tick.x + 3} y={14} className="pointer-events-none fill-muted text-[11px]">
                    {duration(tick.ms)}
                  </text>
                </g>
              ))}
              {shape.gaps.map((gap) => (
                <g key={gap.x}>
                  <rect x={gap.x + 3} y={RULER_PX} width={Math.max(2, gap.width - 6)} height={height - RULER_PX} fill="url(#idle)" />
                  <text x={gap.x + gap.width / 2} y={14} textAnchor="middle" className="fill-muted text-[10px]">
                    <title>{`nothing ran for ${duration(gap.ms)}`}</title>
                    {gap.width > 80 ? duration(gap.ms) : '⋯'}
                  </text>
                </g>
              ))}
              {lanes.map((lane) => (
                <LaneBars key={lane.lane.name} lane={lane.lane} top={lane.top} steps={steps} at={at} />
              ))}
              {shape.now !== null && <line x1={shape.now} x2={shape.now} y1={RULER_PX} y2={height} className="stroke-accent" strokeDasharray="3 3" />}
              {at >= 0 && <Chosen x={shape.x[at] ?? 0} lanes={lanes} at={at} step={steps[at]} />}
              {brush.range && <rect x={brush.range[0]} y={0} width={brush.range[1] - brush.range[0]} height={height} className="fill-accent opacity-20" />}
            </g>
            {lanes.map((lane) => (
              <text key={lane.lane.name} x={8} y={lane.top + 16} className="fill-text text-[12px]">
                {harmless(lane.lane.name || 'main').slice(0, 13)}
              </text>
            ))}
          </svg>
        )}
      </div>
    </section>
  )
}

function Hatch() {
  return (
    <defs>
      <pattern id="cached" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <rect width="3" height="6" className="fill-panel opacity-60" />
      </pattern>
      <pattern id="idle" width="4" height="4" patternUnits="userSpaceOnUse">
        <circle cx="1" cy="1" r="0.8" className="fill-edge" />
      </pattern>
    </defs>
  )
}

interface Placed {
  lane: LaneShape
  top: number
  bottom: number
}

function placed(lanes: readonly LaneShape[]): Placed[] {
  let top = RULER_PX + 2
  return lanes.slice(0, MOST_SHOWN).map((lane) => {
    const bottom = top + Math.max(1, lane.tracks.length) * TRACK_PX
    const found = { lane, top, bottom }
    top = bottom + LANE_GAP_PX
    return found
  })
}

function LaneBars({ lane, top, steps, at }: { lane: LaneShape; top: number; steps: readonly Step[]; at: number }) {
  return (
    <g>
      {lane.tracks.map((track, n) => (
        <g key={n} transform={`translate(0 ${top + n * TRACK_PX})`}>
          {track.bars.map((bar) => (
            <StepBar key={bar.first} bar={bar} step={steps[bar.first]} chosen={bar.first === at && bar.count === 1} />
          ))}
        </g>
      ))}
    </g>
  )
}

function StepBar({ bar, step, chosen }: { bar: Bar; step: Step | undefined; chosen: boolean }) {
  if (!step) return null
  const ink = LIGHT.has(bar.status) ? 'fill-text' : 'fill-on-accent'
  const words = bar.count > 1 ? `${bar.count}` : `${SIGN[bar.status] ?? ''} ${harmless(step.name)}`
  const room = Math.floor((bar.width - 8) / 6.6)
  return (
    <g data-index={bar.first} className="cursor-pointer">
      <rect x={bar.x} y={2} width={Math.max(2, bar.width - 1)} height={TRACK_PX - 5} rx={3} className={`${INK[bar.status] ?? 'fill-edge'} ${chosen ? 'stroke-text' : ''}`} strokeWidth={chosen ? 2 : 0} />
      {bar.status === 'cached' && <rect x={bar.x} y={2} width={Math.max(2, bar.width - 1)} height={TRACK_PX - 5} rx={3} fill="url(#cached)" />}
      {bar.count === 1 && step.attempt > 1 && Array.from({ length: Math.min(step.attempt - 1, 5) }, (_, n) => <line key={n} x1={bar.x + 3 + n * 3} x2={bar.x + 3 + n * 3} y1={TRACK_PX - 8} y2={TRACK_PX - 3} className="stroke-text" />)}
      {bar.width >= 14 && (
        <text x={bar.x + 5} y={16} className={`pointer-events-none text-[11px] ${ink}`}>
          {room < words.length ? words.slice(0, Math.max(1, room)) : words}
        </text>
      )}
    </g>
  )
}

/** Shows where the chosen step is, also among bars that stand for many. */
function Chosen({ x, lanes, at, step }: { x: number; lanes: readonly Placed[]; at: number; step: Step | undefined }) {
  const lane = lanes.find((one) => one.lane.name === step?.lane)
  if (!lane) return null
  const track = Math.max(0, lane.lane.tracks.findIndex((one) => one.bars.some((bar) => bar.first <= at && x >= bar.x - 1 && x <= bar.x + bar.width)))
  const y = lane.top + track * TRACK_PX
  return <path d={`M${x} ${y - 3} l4 -5 h-8 z`} className="fill-text" />
}

const zoomed = (zoom: readonly [number, number], factor: number, around: number): readonly [number, number] => {
  const size = Math.min(1, Math.max(0.001, (zoom[1] - zoom[0]) * factor))
  const middle = zoom[0] + (zoom[1] - zoom[0]) * Math.max(0, Math.min(1, around))
  const from = Math.max(0, Math.min(1 - size, middle - size / 2))
  return [from, from + size]
}

function nextLane(steps: readonly Step[], at: number, by: 1 | -1): number {
  const here = steps[at]
  for (let n = at + by; n >= 0 && n < steps.length; n += by) if (steps[n]?.lane !== here?.lane) return n
  return at < 0 ? 0 : at
}

function pick(target: EventTarget, choose: (index: number) => void): void {
  const group = target instanceof Element ? target.closest('[data-index]') : null
  if (group instanceof SVGElement) choose(Number(group.dataset.index))
}

/** Drawing over the ruler zooms into what was drawn over. */
function useBrush(width: number, zoom: readonly [number, number], setZoom: (zoom: readonly [number, number]) => void) {
  const [range, setRange] = useState<readonly [number, number] | null>(null)
  const from = useRef<number | null>(null)
  const x = (event: PointerEvent<SVGElement>) => Math.max(0, Math.min(width, event.clientX - event.currentTarget.getBoundingClientRect().left - NAME_PX))
  const on = {
    onPointerDown: (event: PointerEvent<SVGElement>) => {
      const y = event.clientY - event.currentTarget.getBoundingClientRect().top
      if (y <= RULER_PX) from.current = x(event)
    },
    onPointerMove: (event: PointerEvent<SVGElement>) => {
      if (from.current === null) return
      const to = x(event)
      setRange([Math.min(from.current, to), Math.max(from.current, to)])
    },
    onPointerUp: () => {
      from.current = null
      setRange(null)
      if (!range || range[1] - range[0] < 8) return
      const size = zoom[1] - zoom[0]
      setZoom([zoom[0] + (range[0] / width) * size, zoom[0] + (range[1] / width) * size])
    },
    onPointerLeave: () => {
      from.current = null
      setRange(null)
    },
  }
  return { range, on }
}
