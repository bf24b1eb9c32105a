import type { Schemas } from '../api/client'

type Scalar = string | number | boolean | null
export type Space = Schemas['SweepInAtStartExperimentSweep']['space']

const NAMED = /^([A-Za-z_]\w{0,99})\s*=\s*([\s\S]*)$/
const NUMBER = /^-?\d+(\.\d+)?([eE][-+]?\d+)?$/
const SPAN = /^(\S+?)\s*\.\.\s*(\S+)((?:\s+(?:log|whole|step\s+\S+))*)$/

const lines = (text: string): string[] => text.split('\n').map((one) => one.trim()).filter(Boolean)

/** `name=value` line by line; what reads as a number, true, false or null is one. In words, what is wrong otherwise. */
export function paramsOf(text: string): Record<string, Scalar> | string {
  const found: Record<string, Scalar> = {}
  for (const line of lines(text)) {
    const [, name, value] = NAMED.exec(line) ?? []
    if (name === undefined || value === undefined) return `"${line.slice(0, 60)}" is no name=value.`
    found[name] = plainValue(value)
  }
  return found
}

/**
 * What a search draws from, a param in a line: `depth = 2, 3, 5` for values, `lr = 0.001 .. 0.1 log` for a span, which
 * `step 0.1` cuts and `whole` keeps to integers. In words, what is wrong otherwise.
 */
export function spaceOf(text: string): Space | string {
  const found: Space = {}
  for (const line of lines(text)) {
    const [, name, rest] = NAMED.exec(line) ?? []
    if (!name || !rest) return `"${line.slice(0, 60)}" is no name = value, value.`
    const span = SPAN.exec(rest)
    if (!span) {
      found[name] = rest.split(',').map((one) => plainValue(one.trim()))
      continue
    }
    const [, low = '', high = '', words = ''] = span
    if (!NUMBER.test(low) || !NUMBER.test(high)) return `${name} goes from no number to another: ${low} .. ${high}.`
    const step = /step\s+(\S+)/.exec(words)?.[1]
    if (step !== undefined && !NUMBER.test(step)) return `The step of ${name} is no number.`
    found[name] = { min: Number(low), max: Number(high), log: /\blog\b/.test(words), whole: /\bwhole\b/.test(words), ...(step === undefined ? {} : { step: Number(step) }) }
  }
  return Object.keys(found).length === 0 ? 'Name what is searched.' : found
}

function plainValue(text: string): Scalar {
  if (text === 'true' || text === 'false') return text === 'true'
  if (text === 'null') return null
  return NUMBER.test(text) && Number.isFinite(Number(text)) ? Number(text) : text
}
