import type { Schemas } from '../api/client'
import type { Value } from '../ui/curves'

export type Run = Schemas['ExperimentRun']
export type Kind = 'metrics' | 'params' | 'tags'
const KINDS: readonly Kind[] = ['metrics', 'params', 'tags']
const WORDS: Record<Kind, string> = { metrics: 'Metrics', params: 'Params', tags: 'Tags' }
const FIRST_METRICS = 5
const FIRST_PARAMS = 4

/** A column of the table: `metrics.acc` in the address and in the search. */
export interface Key {
  kind: Kind
  name: string
}

export const kindWord = (kind: Kind): string => WORDS[kind]
export const written = (key: Key): string => `${key.kind}.${key.name}`

export function keyOf(text: string): Key | null {
  const kind = KINDS.find((each) => text.startsWith(`${each}.`))
  const name = kind && text.slice(kind.length + 1)
  return kind && name ? { kind, name } : null
}

export const valueOf = (run: Run, { kind, name }: Key): Value | string | undefined => (Object.hasOwn(run[kind], name) ? run[kind][name] : undefined)

/** Every key of these runs, by kind and name. Tags of the client itself are not worth a column. */
export function keysOf(runs: readonly Run[]): Key[] {
  const found = new Map<string, Key>()
  for (const run of runs) {
    for (const kind of KINDS) {
      for (const name of Object.keys(run[kind])) if (kind !== 'tags' || !name.startsWith('mlflow.')) found.set(`${kind}.${name}`, { kind, name })
    }
  }
  return [...found.values()].sort((one, other) => KINDS.indexOf(one.kind) - KINDS.indexOf(other.kind) || (one.name < other.name ? -1 : 1))
}

/** What stands in the table before anybody chose: a few metrics, and those params that not all runs have alike. */
export function firstOf(keys: readonly Key[], runs: readonly Run[]): Key[] {
  const metrics = keys.filter((key) => key.kind === 'metrics' && !key.name.startsWith('system/')).slice(0, FIRST_METRICS)
  const params = keys.filter((key) => key.kind === 'params')
  const telling = params.filter((key) => new Set(runs.map((run) => valueOf(run, key))).size > 1)
  return [...metrics, ...(telling.length > 0 ? telling : params).slice(0, FIRST_PARAMS)]
}

/** A key as the search grammar wants it; null where the grammar has no way to write it. */
export function asked(key: Key): string | null {
  if (/^[A-Za-z_][\w./:-]*$/.test(key.name)) return written(key)
  return /[`,]/.test(key.name) ? null : `${key.kind}.\`${key.name}\``
}

/** The order that follows when a column is pressed: greatest first, least first, none. */
export function turned(order: string | undefined, key: string): string | undefined {
  if (order === `${key} DESC`) return `${key} ASC`
  return order === `${key} ASC` ? undefined : `${key} DESC`
}

export const sortedBy = (order: string | undefined, key: string): 'ascending' | 'descending' | undefined => (order === `${key} DESC` ? 'descending' : order === `${key} ASC` ? 'ascending' : undefined)

/** Where in a filter its fault lies, as far as the server's words tell: the part that they quote. */
export function faultOf(filter: string, detail: string): readonly [before: string, wrong: string, after: string] | null {
  const quotes = [...detail.matchAll(/'([^']+)'/g)].map((match) => match[1] ?? '')
  const rest = /: '([\s\S]+)'\s*$/.exec(detail)?.[1]
  for (const quoted of [...(rest ? [rest] : []), ...quotes]) {
    const at = filter.lastIndexOf(quoted)
    if (at >= 0) return [filter.slice(0, at), quoted, filter.slice(at + quoted.length)]
  }
  return null
}
