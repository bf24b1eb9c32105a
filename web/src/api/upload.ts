import { api, data, type Schemas } from './client'
import { problemOf } from './problem'
import { credentials } from './session'

/** Longer parts would be lost whole with a line that breaks. */
const PART = 8 * 1024 * 1024

const hex = (bytes: ArrayBuffer): string => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('')

/** Send a file of this machine as an artifact, part by part; `note` is told how much of it is there, 0 to 1. */
export async function upload(file: File, path: string, type: string, note: (share: number) => void): Promise<Schemas['Artifact']> {
  const sha256 = hex(await crypto.subtle.digest('SHA-256', await file.arrayBuffer()))
  let state = await data(api.POST('/v1/artifacts', { body: { path, size: file.size, sha256, type } }))
  for (;;) {
    if (state.artifact) return state.artifact
    note(file.size === 0 ? 1 : state.offset / file.size)
    const end = state.offset + Math.min(PART, state.max_part)
    const address = `/v1/artifacts/uploads/${encodeURIComponent(state.id)}?offset=${state.offset}`
    const reply = await fetch(address, { method: 'PUT', headers: { 'content-type': 'application/octet-stream', ...credentials('PUT') }, body: file.slice(state.offset, end) })
    const said: unknown = await reply.json().catch(() => null)
    if (!reply.ok) throw problemOf(said, reply)
    state = said as typeof state
  }
}
