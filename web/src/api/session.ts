import { useSyncExternalStore } from 'react'
import { early, forget } from './early'

/**
 * Who is in, in this tab.
 *
 * A member or the owner has a session cookie, which no script can read; what a page of ours needs beside it is the
 * CSRF token. Somebody without an account has the token of a workspace, kept for this tab alone.
 */
export type Session =
  | { state: 'asking' }
  | { state: 'out' }
  | { state: 'in'; by: 'cookie'; csrf: string; role: string; org: string; id: string }
  | { state: 'in'; by: 'token'; token: string }
  /** Was in; what is on the page stays until somebody is in again. */
  | { state: 'over'; by: 'cookie' | 'token' }

const KEPT = 'builderos.token'
const TOKEN = /^bos_rt_[0-9A-Za-z]{43}$/
const heard = new Set<() => void>()
const tabs = new BroadcastChannel('builderos-session')
let now: Session = { state: 'asking' }

function become(next: Session): void {
  if (now.state !== 'asking') forget()
  now = next
  for (const listener of heard) listener()
}

export const session = (): Session => now

export function onSession(listener: () => void): () => void {
  heard.add(listener)
  return () => heard.delete(listener)
}

export function useSession(): Session {
  return useSyncExternalStore(onSession, session)
}

/** The headers that make a call the caller's own. */
export function credentials(method: string): Record<string, string> {
  if (now.state !== 'in') return {}
  if (now.by === 'token') return { authorization: `Bearer ${now.token}` }
  return method === 'GET' || method === 'HEAD' ? {} : { 'x-csrf-token': now.csrf }
}

const hinted = (): boolean => document.querySelector('meta[name="builderos-cookie"]')?.getAttribute('content') !== 'none'

interface Told {
  member_id: string
  role: string
  org_slug: string
  csrf_token: string
}

/** Ask the server whether the cookie is good; `true` when somebody is in. A server that does not answer changes nothing. */
export async function ask(): Promise<boolean> {
  const reply = await (early('/v1/auth/session') ?? fetch('/v1/auth/session', { headers: { accept: 'application/json' } }))
  if (!reply.ok) return false
  const told = (await reply.json()) as Told
  become({ state: 'in', by: 'cookie', csrf: told.csrf_token, role: told.role, org: told.org_slug, id: told.member_id })
  return true
}

/** At the start of a page: the workspace of this tab, else the cookie, where the page was sent to a browser with one. */
export async function begin(): Promise<void> {
  const kept = sessionStorage.getItem(KEPT)
  if (kept !== null && TOKEN.test(kept)) {
    become({ state: 'in', by: 'token', token: kept })
    return
  }
  for (let pause = 250; hinted(); pause = Math.min(pause * 2, 8000)) {
    try {
      if (!(await ask())) become({ state: 'out' })
      return
    } catch {
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
  }
  become({ state: 'out' })
}

/** Whether a text has the form of a workspace's token. */
export const isToken = (text: string): boolean => TOKEN.test(text)

/** Go on as the holder of a workspace's token; it is forgotten with the tab. */
export function takeToken(token: string): void {
  sessionStorage.setItem(KEPT, token)
  become({ state: 'in', by: 'token', token })
}

/** The server took the credential no longer. */
export function over(): void {
  if (now.state === 'in') become({ state: 'over', by: now.by })
}

/** In again, in this tab or in another one. */
export async function again(): Promise<boolean> {
  const found = await ask().catch(() => false)
  if (found) tabs.postMessage('in')
  return found
}

/** Exchange the code of `builderos open` for a session. Returns what is wrong, or null. */
export async function enter(code: string): Promise<string | null> {
  const reply = await fetch('/v1/auth/code/finish', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ code }),
  })
  if (!reply.ok) {
    const told = (await reply.json().catch(() => ({}))) as { detail?: string; hint?: string }
    return `${told.detail ?? 'the code was not accepted'}. ${told.hint ?? ''}`
  }
  sessionStorage.removeItem(KEPT)
  await again()
  return null
}

/** Sign out, in all tabs; the token of a workspace is forgotten by this tab. */
export async function leave(): Promise<void> {
  const was = now
  if (was.state === 'in' && was.by === 'cookie') {
    await fetch('/v1/auth/sign-out', { method: 'POST', headers: { 'x-csrf-token': was.csrf } })
    tabs.postMessage('out')
  }
  sessionStorage.removeItem(KEPT)
  become({ state: 'out' })
}

tabs.addEventListener('message', (event: MessageEvent<unknown>) => {
  if (now.state === 'in' && now.by === 'token') return
  if (event.data === 'out') become({ state: 'out' })
  else if (now.state !== 'in') void ask().catch(() => false)
})
// Whoever signs in elsewhere comes back to this tab: look once more.
window.addEventListener('focus', () => {
  if (now.state === 'over' && now.by === 'cookie') void ask().catch(() => false)
})
