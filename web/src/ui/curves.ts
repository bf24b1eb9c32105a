/** Series of numbers as they are drawn: where each point lies, what cannot be drawn, and a mean that runs along. */

/** JSON has no NaN and no infinity: these come as words. */
export type Value = number | 'NaN' | 'Infinity' | '-Infinity'
export type Point = readonly [at: number, value: Value]

export interface Curve {
  name: string
  points: readonly Point[]
}

export const asNumber = (value: Value): number => (typeof value === 'number' ? value : Number(value))

/** A number as people read it: exact enough, never long. */
export function short(value: Value | null | undefined): string {
  if (value === null || value === undefined) return ''
  if (typeof value !== 'number') return value === 'Infinity' ? '∞' : value === '-Infinity' ? '−∞' : 'NaN'
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e7)) return value.toExponential(3).replace('e+', 'e')
  return value.toLocaleString('en', { maximumSignificantDigits: 5 })
}

/** The same points with a mean that follows them, as far back as `share` (0 to 0.99) says; others than numbers are passed by. */
export function smoothed(points: readonly Point[], share: number): Point[] {
  if (share <= 0) return [...points]
  let mean = 0
  let weight = 0
  return points.map(([at, value]) => {
    const number = asNumber(value)
    if (!Number.isFinite(number)) return [at, value]
    mean = mean * share + number * (1 - share)
    weight = weight * share + (1 - share)
    // Without this the first values would be drawn to zero.
    return [at, mean / weight]
  })
}

export interface Frame {
  from: number
  to: number
  low: number
  high: number
  log: boolean
}

/** The frame that all points fit in; null where there is nothing to draw. */
export function frameOf(curves: readonly Curve[], log: boolean, range?: readonly [number, number]): Frame | null {
  let [from, to, low, high] = [Infinity, -Infinity, Infinity, -Infinity]
  for (const { points } of curves) {
    for (const [at, value] of points) {
      if (range && (at < range[0] || at > range[1])) continue
      from = Math.min(from, at)
      to = Math.max(to, at)
      const number = asNumber(value)
      if (!Number.isFinite(number) || (log && number <= 0)) continue
      low = Math.min(low, number)
      high = Math.max(high, number)
    }
  }
  if (!(to >= from)) return null
  if (range) [from, to] = range
  if (!(high >= low)) return { from, to, low: 0, high: 1, log: false }
  if (log) return low === high ? { from, to, low: low / 2, high: high * 2, log } : { from, to, low, high, log }
  // Numbers near the greatest of all: their difference would be infinite.
  const room = Math.min((high / 2 - low / 2) * 0.08, Number.MAX_VALUE / 8) || Math.abs(high) * 0.1 || 1
  // What is never below zero, such as a time, is drawn from zero on at the lowest.
  const bottom = low >= 0 ? Math.max(0, low - room) : low - room
  return { from, to, low: Math.max(bottom, -Number.MAX_VALUE / 2), high: Math.min(high + room, Number.MAX_VALUE / 2), log }
}

export const WIDE = 1000
export const HIGH = 300

export const across = (at: number, frame: Frame): number => (frame.to > frame.from ? ((at - frame.from) / (frame.to - frame.from)) * WIDE : WIDE / 2)

export function upward(value: number, { low, high, log }: Frame): number {
  const share = log ? (Math.log(value) - Math.log(low)) / (Math.log(high) - Math.log(low)) : (value / 2 - low / 2) / (high / 2 - low / 2)
  return HIGH - Math.max(0, Math.min(1, share)) * HIGH
}

/** The line of a curve as a path; it is broken where a value is no number. */
export function lineOf(points: readonly Point[], frame: Frame): string {
  let path = ''
  let drawing = false
  for (const [at, value] of points) {
    const number = asNumber(value)
    const there = Number.isFinite(number) && !(frame.log && number <= 0) && at >= frame.from && at <= frame.to
    if (there) path += `${drawing ? 'L' : 'M'}${across(at, frame).toFixed(1)} ${upward(number, frame).toFixed(1)}${drawing ? '' : 'h0'}`
    drawing = there
  }
  return path
}

/** What a curve holds that no line can show, in words. */
export function unshown({ points }: Curve, log: boolean): string {
  const counts = new Map<string, number>()
  for (const [, value] of points) {
    const what = value === 'NaN' || Number.isNaN(value) ? 'NaN' : value === 'Infinity' || value === Infinity ? '∞' : value === '-Infinity' || value === -Infinity ? '−∞' : log && Number(value) <= 0 ? 'not above 0' : ''
    if (what) counts.set(what, (counts.get(what) ?? 0) + 1)
  }
  return [...counts].map(([what, many]) => (many === 1 ? what : `${many.toLocaleString('en')} × ${what}`)).join(', ')
}

/** Places of all curves from left to right, each once. */
export function placesOf(curves: readonly Curve[], frame: Frame): number[] {
  const found = new Set<number>()
  for (const { points } of curves) for (const [at] of points) if (at >= frame.from && at <= frame.to) found.add(at)
  return [...found].sort((one, other) => one - other)
}

/** The point of a curve at a place, or the last one before it. */
export function pointAt(points: readonly Point[], place: number): Point | undefined {
  let [low, high] = [0, points.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((points[middle]?.[0] ?? Infinity) <= place) low = middle + 1
    else high = middle
  }
  return points[low - 1]
}
