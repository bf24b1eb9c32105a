/** What the server says when it refuses (RFC 9457), as an error that can be thrown and shown. */
export class Problem extends Error {
  constructor(
    readonly code: string,
    readonly status: number,
    readonly detail: string,
    readonly hint: string,
    readonly requestId: string,
    readonly fields: readonly { field: string; problem: string }[] = [],
    readonly retryAfterS: number | null = null,
  ) {
    super(detail)
    this.name = 'Problem'
  }

  /** Nobody answered, or not now: the same call may succeed in a moment. */
  get passing(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504
  }
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

/** The problem that a reply carries. */
export function problemOf(body: unknown, reply: Response): Problem {
  const said = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>
  const fields = Array.isArray(said.fields)
    ? said.fields.flatMap((one: unknown) => {
        const entry = (typeof one === 'object' && one !== null ? one : {}) as Record<string, unknown>
        return [{ field: text(entry.field), problem: text(entry.problem) }]
      })
    : []
  const after = Number(reply.headers.get('retry-after') ?? Number.NaN)
  return new Problem(
    text(said.code) || 'internal',
    reply.status,
    text(said.detail) || `the server answered ${reply.status}`,
    text(said.hint),
    reply.headers.get('x-request-id') ?? '',
    fields,
    Number.isFinite(after) ? after : null,
  )
}

/** The problem of a call that nobody answered. */
export function unanswered(): Problem {
  return new Problem('unavailable', 0, 'the server does not answer', 'Nothing that you typed is lost: try again in a moment.', '')
}

/** Whatever was thrown, as a problem. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error
  return new Problem('internal', -1, error instanceof Error ? error.message : 'something went wrong', 'Reload the page.', '')
}
