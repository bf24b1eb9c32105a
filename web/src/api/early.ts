/**
 * What a page needs first, asked for while its scripts are still on their way.
 *
 * The build puts this before everything else (vite.config.ts): it is a script of its own, small enough to be there at
 * once. It only asks; the client takes a reply instead of asking a second time when it comes to make the same call.
 */
const FRESH_MS = 15_000
const asked = new Map<string, Promise<Response>>()
const born = performance.now()

/** Of a page without filters: its script, and the call that fills it, word for word as the page makes it. */
const PAGES: readonly (readonly [RegExp, () => Promise<unknown>, (id: string) => string])[] = [
  [/^\/runs$/, () => import('../runs/Runs'), () => '/v1/runs?limit=100&brief=true&counts=true'],
  [/^\/runs\/(run_\w+)$/, () => import('../runs/Run'), (id) => `/v1/runs/${id}/view?limit=200`],
  [/^\/approvals$/, () => import('../approvals/Approvals'), () => '/v1/approvals?state=pending&limit=100'],
  [/^\/$/, () => import('../home/Home'), () => '/v1/inbox?limit=100'],
]

/** The reply to a call that was made already, once; a reply that lay for long is worth nothing. */
export function early(url: string): Promise<Response> | null {
  const found = asked.get(url) ?? null
  asked.delete(url)
  return performance.now() - born < FRESH_MS ? found : null
}

/** Somebody else is in, or nobody: what was asked as who was here before is for nobody. */
export const forget = (): void => asked.clear()

function ask(url: string): void {
  const reply = fetch(url, { headers: { accept: 'application/json' } })
  reply.catch(() => undefined) // whoever takes it hears of it, and asks again
  asked.set(url, reply)
}

function begin(): void {
  const known = document.querySelector('meta[name="builderos-cookie"]')?.getAttribute('content') === 'some'
  if (!known || sessionStorage.getItem('builderos.token') !== null) return
  const page = PAGES.find(([path]) => path.test(location.pathname))
  ask('/v1/auth/session')
  if (!page) return
  const [path, script, call] = page
  script().catch(() => undefined) // the router asks for it anew and shows what is wrong
  if (path.source.includes('(') || location.search === '') ask(call(path.exec(location.pathname)?.[1] ?? ''))
}

begin()
