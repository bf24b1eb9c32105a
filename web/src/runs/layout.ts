import type { Step } from './data'

/** A step, or several that are too narrow to be told apart, as a bar. Units: pixels from the left, index of the step. */
export interface Bar {
  first: number
  count: number
  x: number
  width: number
  status: string
}

export interface Track {
  bars: Bar[]
}

export interface LaneShape {
  name: string
  steps: number
  tracks: Track[]
}

/** A pause in which nothing ran, drawn narrow; one in which somebody was waited for has room for who that was. */
export interface Gap {
  x: number
  ms: number
  width: number
}

export interface Tick {
  x: number
  ms: number
}

export interface Shape {
  lanes: LaneShape[]
  gaps: Gap[]
  ticks: Tick[]
  /** Where the bar of each step begins, by index; what has not begun stands behind now. */
  x: Float64Array
  now: number | null
}

interface Span {
  index: number
  from: number
  to: number
  /** Nothing ran: a person was waited for. */
  waits: boolean
}

const GAP_PX = 22
const WAIT_PX = 110
const MOST_TRACKS = 10
const MOST_BARS = 700
const LEAST_PX = 5
const BAD = new Set(['failed', 'denied', 'timed_out'])
const GRAVE = ['failed', 'denied', 'timed_out', 'waiting_approval', 'waiting_input', 'retrying', 'running', 'cancelled', 'pending', 'skipped', 'cached', 'succeeded']

/** Where everything stands on a timeline that is `width` pixels wide; `zoom` is the part of it that is shown. */
export function shapeOf(steps: readonly Step[], width: number, now: number, over: boolean, zoom: readonly [number, number] = [0, 1]): Shape {
  const spans: Span[] = []
  for (const [index, step] of steps.entries()) {
    if (step.start === null) continue
    const from = Date.parse(step.start)
    spans.push({ index, from, to: Math.max(from, step.end === null ? now : Date.parse(step.end)), waits: step.action === 'approval' || step.action === 'question' || step.status.startsWith('waiting_') })
  }
  const waiting = steps.length - spans.length
  const ahead = !over && waiting > 0 ? Math.min(0.3, waiting / steps.length) : 0
  const scale = 1 / Math.max(1e-6, zoom[1] - zoom[0])
  const full = width * scale
  const axis = axisOf(spans, full * (1 - ahead))
  const place = (px: number): number => px - zoom[0] * full
  const x = new Float64Array(steps.length)
  const ends = new Float64Array(steps.length)
  for (const span of spans) {
    x[span.index] = place(axis.at(span.from))
    ends[span.index] = place(axis.at(span.to))
  }
  spreadAhead(steps, x, ends, place(full * (1 - ahead)), full * ahead)
  return {
    lanes: lanesOf(steps, x, ends, width),
    gaps: axis.gaps.map((gap) => ({ ...gap, x: place(gap.x) })).filter((gap) => gap.x >= -gap.width && gap.x <= width),
    ticks: axis.ticks.map((tick) => ({ ...tick, x: place(tick.x) })).filter((tick) => tick.x >= 0 && tick.x <= width - 40),
    x,
    now: over || spans.length === 0 ? null : place(full * (1 - ahead)),
  }
}

interface Axis {
  at: (ms: number) => number
  gaps: Gap[]
  ticks: Tick[]
}

/** Time to pixels: stretches in which something ran, side by side, with narrow gaps for the rest. */
function axisOf(spans: readonly Span[], width: number): Axis {
  if (spans.length === 0) return { at: () => 0, gaps: [], ticks: [] }
  const ran = spans.flatMap((span) => (span.waits ? [{ from: span.from, to: span.from }, { from: span.to, to: span.to }] : [span]))
  const sorted = ran.sort((a, b) => a.from - b.from)
  const busy: [number, number][] = []
  for (const { from, to } of sorted) {
    const last = busy.at(-1)
    if (last && from <= last[1]) last[1] = Math.max(last[1], to)
    else busy.push([from, to])
  }
  const worked = busy.reduce((sum, [from, to]) => sum + to - from, 0)
  const idle = Math.max(3000, worked * 0.1)
  const parts: [number, number][] = []
  for (const [from, to] of busy) {
    const last = parts.at(-1)
    if (last && from - last[1] < idle) last[1] = to
    else parts.push([from, to])
  }
  const total = Math.max(1, parts.reduce((sum, [from, to]) => sum + to - from, 0))
  const wide = parts.slice(1).map(([to], n) => (spans.some((span) => span.waits && span.from <= (parts[n]?.[1] ?? 0) && span.to >= to) ? WAIT_PX : GAP_PX))
  const asked = wide.reduce((sum, px) => sum + px, 0)
  const narrow = Math.min(1, (width * 0.4) / Math.max(1, asked))
  const perMs = Math.max(1, width - asked * narrow - LEAST_PX) / total
  const starts: number[] = []
  const gaps: Gap[] = []
  let px = 0
  for (const [n, [from, to]] of parts.entries()) {
    starts.push(px)
    px += (to - from) * perMs
    const next = parts[n + 1]
    const gap = (wide[n] ?? 0) * narrow
    if (next) gaps.push({ x: px, ms: next[0] - to, width: gap })
    px += gap
  }
  const at = (ms: number): number => {
    let n = parts.findLastIndex(([from]) => from <= ms)
    if (n < 0) n = 0
    const [from, to] = parts[n] ?? [0, 0]
    return (starts[n] ?? 0) + (Math.min(ms, to) - from) * perMs
  }
  return { at, gaps, ticks: ticksOf(parts, starts, perMs) }
}

const NICE_MS = [100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 86_400_000]

function ticksOf(parts: readonly [number, number][], starts: readonly number[], perMs: number): Tick[] {
  const step = NICE_MS.find((ms) => ms * perMs >= 90) ?? 604_800_000
  const begin = parts[0]?.[0] ?? 0
  const ticks: Tick[] = []
  for (const [n, [from, to]] of parts.entries())
    for (let ms = Math.ceil((from - begin) / step) * step; ms <= to - begin && ticks.length < 60; ms += step) ticks.push({ x: (starts[n] ?? 0) + (ms + begin - from) * perMs, ms })
  return ticks
}

/** What has not begun stands behind now, in the order of the definition. */
function spreadAhead(steps: readonly Step[], x: Float64Array, ends: Float64Array, from: number, width: number): void {
  const perLane = new Map<string, number>()
  for (const step of steps) if (step.start === null) perLane.set(step.lane, (perLane.get(step.lane) ?? 0) + 1)
  const most = Math.max(1, ...perLane.values())
  const each = width / most
  const seen = new Map<string, number>()
  for (const [index, step] of steps.entries()) {
    if (step.start !== null) continue
    const n = seen.get(step.lane) ?? 0
    seen.set(step.lane, n + 1)
    x[index] = from + n * each
    ends[index] = from + (n + 0.8) * each
  }
}

interface Laying {
  shape: LaneShape
  ends: number[]
}

function lanesOf(steps: readonly Step[], x: Float64Array, ends: Float64Array, width: number): LaneShape[] {
  const order = [...steps.keys()].sort((a, b) => (x[a] ?? 0) - (x[b] ?? 0) || a - b)
  const lanes = new Map<string, Laying>()
  for (const step of steps) if (!lanes.has(step.lane)) lanes.set(step.lane, { shape: { name: step.lane, steps: 0, tracks: [] }, ends: [] })
  const merge = steps.length > MOST_BARS ? Math.max(3, (width * Math.min(40, lanes.size * 3)) / MOST_BARS) : 1.5
  for (const index of order) {
    const step = steps[index]
    const lane = step && lanes.get(step.lane)
    if (!lane) continue
    lane.shape.steps++
    const from = x[index] ?? 0
    const to = Math.max(ends[index] ?? 0, from + LEAST_PX)
    if (to < 0 || from > width) continue
    lay(lane, index, step.status, from, to, merge)
  }
  return [...lanes.values()].map((lane) => lane.shape)
}

/** Put a bar on the first track with room; one that fits nowhere joins the bar it would cover. */
function lay(lane: Laying, index: number, status: string, from: number, to: number, merge: number): void {
  let at = lane.ends.findIndex((end) => end <= from + 0.5)
  if (at < 0 && lane.ends.length < MOST_TRACKS) at = lane.ends.push(0) - 1
  if (at < 0) at = lane.ends.indexOf(Math.min(...lane.ends))
  const track = (lane.shape.tracks[at] ??= { bars: [] })
  const last = track.bars.at(-1)
  const clipped = Math.max(from, -2)
  if (last && (clipped < last.x + last.width - 0.5 || (to - from <= LEAST_PX && clipped - last.x < merge))) {
    last.count++
    last.width = Math.max(last.width, to - last.x)
    if (GRAVE.indexOf(status) < GRAVE.indexOf(last.status)) last.status = status
  } else track.bars.push({ first: index, count: 1, x: clipped, width: to - clipped, status })
  lane.ends[at] = Math.max(lane.ends[at] ?? 0, to)
}

export const isBad = (status: string): boolean => BAD.has(status)
