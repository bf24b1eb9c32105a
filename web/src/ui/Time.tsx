import { useSyncExternalStore } from 'react'

// One clock for all times on a page.
const ticking = new Set<() => void>()
let now = Date.now()
let timer: ReturnType<typeof setInterval> | undefined

function onTick(listener: () => void): () => void {
  ticking.add(listener)
  now = Date.now()
  timer ??= setInterval(() => {
    now = Date.now()
    for (const each of ticking) each()
  }, 15_000)
  return () => {
    ticking.delete(listener)
    if (ticking.size > 0) return
    clearInterval(timer)
    timer = undefined
  }
}

const STEPS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_557_600], ['month', 2_629_800], ['day', 86_400], ['hour', 3600], ['minute', 60],
]
const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' })
const exact = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'long' })

/** "3 min. ago", "in 2 hr.", "just now". */
export function ago(at: string, from: number = Date.now()): string {
  const seconds = (Date.parse(at) - from) / 1000
  for (const [unit, size] of STEPS) if (Math.abs(seconds) >= size) return words.format(Math.trunc(seconds / size), unit)
  return seconds > 0 ? 'in a moment' : 'just now'
}

/** An instant: how long ago, exactly as a tip. */
export function Time({ at, className = '' }: { at: string; className?: string }) {
  const from = useSyncExternalStore(onTick, () => now)
  return (
    <time dateTime={at} title={exact.format(new Date(at))} className={`whitespace-nowrap ${className}`}>
      {ago(at, from)}
    </time>
  )
}

/** A length of time in words that fit a column: "850 ms", "12.3 s", "4 min 5 s", "3 h 2 min". */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  const s = ms / 1000
  if (s < 60) return `${s.toFixed(1)} s`
  const minutes = Math.floor(s / 60)
  if (minutes < 60) return `${minutes} min ${Math.floor(s % 60)} s`
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
