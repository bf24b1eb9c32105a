import { useSyncExternalStore } from 'react'
import { session } from '../api/session'
import type { RunsSearch } from './route'

/** A filter of the list that somebody keeps under a name, in this browser. What it stands for is an address, so it can be sent to others. */
export interface Saved {
  name: string
  search: RunsSearch
}

const MOST = 20
const NONE: readonly Saved[] = []
const heard = new Set<() => void>()
let read: { key: string; text: string | null; of: readonly Saved[] } = { key: '', text: null, of: NONE }

/** Whoever signs in at the same browser has filters of their own. */
const key = (): string => {
  const now = session()
  return `builderos.filters.${now.state === 'in' && now.by === 'cookie' ? now.id : ''}`
}

function kept(): readonly Saved[] {
  const [at, text] = [key(), localStorage.getItem(key())]
  if (read.key !== at || read.text !== text) read = { key: at, text, of: parsed(text) }
  return read.of
}

function parsed(text: string | null): readonly Saved[] {
  try {
    const found: unknown = JSON.parse(text ?? '[]')
    return Array.isArray(found) ? found.filter((one): one is Saved => typeof one?.name === 'string' && typeof one.search === 'object' && one.search !== null) : NONE
  } catch {
    return NONE // written by somebody else
  }
}

function write(of: readonly Saved[]): void {
  localStorage.setItem(key(), JSON.stringify(of.slice(-MOST)))
  for (const listener of heard) listener()
}

/** Keep a filter; one of the same name is replaced. */
export const keep = (one: Saved): void => write([...kept().filter((other) => other.name !== one.name), one])

export const drop = (name: string): void => write(kept().filter((one) => one.name !== name))

export const alike = (one: RunsSearch, other: RunsSearch): boolean => flat(one) === flat(other)

const flat = (search: RunsSearch): string => JSON.stringify(Object.entries(search).filter(([, value]) => value).sort())

export function useSaved(): readonly Saved[] {
  return useSyncExternalStore((listener) => {
    heard.add(listener)
    window.addEventListener('storage', listener)
    return () => {
      heard.delete(listener)
      window.removeEventListener('storage', listener)
    }
  }, kept)
}
