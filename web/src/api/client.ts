import createClient, { type Middleware } from 'openapi-fetch'
import type { components, paths } from './api'
import { early } from './early'
import { Problem, problemOf, unanswered } from './problem'
import { credentials, over } from './session'

export type Schemas = components['schemas']

const signed: Middleware = {
  onRequest({ request }) {
    for (const [name, value] of Object.entries(credentials(request.method))) request.headers.set(name, value)
    return request
  },
}

/** Every call of the console: `api.GET('/v1/runs', …)`, with the words of openapi.json as types. */
export const api = createClient<paths>({ baseUrl: '', redirect: 'error', fetch: (request) => begun(request) ?? fetch(request) })
api.use(signed)

/** A call by cookie that was made before the scripts were there. */
function begun(request: Request): Promise<Response> | null {
  if (request.method !== 'GET' || request.headers.has('authorization')) return null
  return early(request.url.slice(location.origin.length))
}

interface Reply<T> {
  data?: T
  error?: unknown
  response: Response
}

/** What the call returned; throws the `Problem` that it was refused with. A session that is over is noticed here. */
export async function data<T>(call: Promise<Reply<T>>): Promise<T> {
  let reply: Reply<T>
  try {
    reply = await call
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    if (error instanceof Problem) throw error
    throw unanswered()
  }
  if (reply.response.ok) return reply.data as T
  const problem = problemOf(reply.error, reply.response)
  if (problem.status === 401) over()
  throw problem
}
