import { api, data, type Schemas } from '../api/client'

export type Receipt = Schemas['ReceiptOut']
export interface Verdict {
  good: boolean
  words: string
}

export const receiptOf = (id: string): Promise<Receipt> => data(api.GET('/v1/runs/{id}/receipt', { params: { path: { id } } }))

const raw = (base64: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(base64), (one) => one.charCodeAt(0))
const hex = (bytes: ArrayBuffer): string => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, '0')).join('')

interface Statement {
  subject?: { name?: string }[]
  predicate?: { runDetails?: { builder?: { builderDependencies?: { name?: string; content?: string }[] } }; buildDefinition?: { internalParameters?: { status?: string } } }
}

/**
 * Whether a receipt is what its key signed (DSSE over an in-toto statement, Ed25519), found out in this browser.
 *
 * The key is the one that the receipt brings: that shows that it is whole. Whose key it is, is compared with the noted one.
 */
export async function verified(receipt: Receipt): Promise<Verdict> {
  const payload = raw(receipt.payload)
  const said = JSON.parse(new TextDecoder().decode(payload)) as Statement
  const brought = said.predicate?.runDetails?.builder?.builderDependencies?.find((one) => one.name === 'public key')?.content
  if (!brought) return { good: false, words: 'The receipt brings no key.' }
  const bytes = raw(brought)
  const head = new TextEncoder().encode(`DSSEv1 ${receipt.payloadType.length} ${receipt.payloadType} ${payload.length} `)
  const message = new Uint8Array(head.length + payload.length)
  message.set(head)
  message.set(payload, head.length)
  let key: CryptoKey
  try {
    key = await crypto.subtle.importKey('raw', bytes, 'Ed25519', false, ['verify'])
  } catch {
    return { good: false, words: 'This browser cannot verify Ed25519 signatures: use the command.' }
  }
  const id = hex(await crypto.subtle.digest('SHA-256', bytes))
  for (const one of receipt.signatures) {
    if (one.keyid !== id || !(await crypto.subtle.verify('Ed25519', key, raw(one.sig), message))) continue
    const made = said.subject?.length ?? 0
    return { good: true, words: `The signature fits. The run ${said.predicate?.buildDefinition?.internalParameters?.status ?? ''}, and left ${made} ${made === 1 ? 'thing' : 'things'}. Key ${id.slice(0, 16)}: compare it with the one you noted.` }
  }
  return { good: false, words: 'This is NOT what the server signed.' }
}
