import { useMutation } from '@tanstack/react-query'
import { lazy, Suspense, useRef, useState } from 'react'
import { Problem, problemOf } from '../api/problem'
import { credentials } from '../api/session'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Code } from '../ui/Facts'
import { Note, ProblemNote } from '../ui/Note'
import { duration } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import type { One } from './Endpoints'

const CodeEditor = lazy(() => import('../ui/CodeEditor'))
const BEGIN = '{\n  "instances": [\n    [5.1, 3.5, 1.4, 0.2]\n  ]\n}\n'

interface Answer {
  status: number
  ms: number
  by: string
  text: string
}

/** Send a document to the model and see what comes back. */
export default function Try({ one }: { one: One }) {
  const [text, setText] = useState(BEGIN)
  const send = useRef<HTMLButtonElement>(null)
  const body = parsed(text)
  const ask = useMutation({ mutationFn: () => call(one.id, text) })
  return (
    <div className="flex flex-col gap-3">
      <p className="text-muted">MLflow's words (instances, inputs, dataframe_split, dataframe_records) or those of the Open Inference Protocol.</p>
      <Suspense fallback={<Waiting />}>
        <div className="[--editor-least:12rem]"><CodeEditor label="Text of request.json" path="request.json" value={text} onChange={setText} onSave={() => typeof body !== 'string' && ask.mutate()} onLeave={() => send.current?.focus()} /></div>
      </Suspense>
      {typeof body === 'string' && <Note tone="warn">{body}</Note>}
      <div className="flex flex-wrap items-center gap-2">
        <button ref={send} type="button" disabled={typeof body === 'string' || ask.isPending} onClick={() => ask.mutate()} className="rounded-md bg-accent px-3 py-1.5 font-medium text-on-accent disabled:opacity-60">Send it</button>
        <CopyAs call={{ cli: `builderos endpoint invoke ${one.id} request.json`, method: 'POST', path: `/v1/endpoints/${one.id}/invoke`, ...(typeof body === 'string' ? {} : { body }) }} />
        {ask.data && <Button look="quiet" onClick={() => ask.reset()}>Clear</Button>}
      </div>
      {ask.isError && <ProblemNote error={ask.error} />}
      {ask.data && (
        <>
          <Note tone={ask.data.status < 400 ? 'good' : 'bad'} role="status">
            {ask.data.status < 400 ? 'It answered' : `It refused, ${ask.data.status},`} within {duration(ask.data.ms)}{ask.data.by && `, from ${ask.data.by}`}.
          </Note>
          <Code label="Answer" text={ask.data.text} />
        </>
      )}
    </div>
  )
}

/** The document that was typed, or in words what is wrong with it. */
function parsed(text: string): Record<string, unknown> | string {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : 'It has to be an object: { … }.'
  } catch (error) {
    return `This is no JSON yet: ${error instanceof Error ? error.message : ''}`
  }
}

/** The bytes go as they were typed: what the model says to them is its own, and no problem of ours. */
async function call(id: string, body: string): Promise<Answer> {
  const began = performance.now()
  const reply = await fetch(`/v1/endpoints/${encodeURIComponent(id)}/invoke`, { method: 'POST', headers: { 'content-type': 'application/json', ...credentials('POST') }, body })
  const text = await reply.text()
  const ms = performance.now() - began
  if (reply.headers.get('content-type')?.startsWith('application/problem+json')) throw told(text, reply)
  return { status: reply.status, ms, by: reply.headers.get('x-model-deployment') ?? '', text: pretty(text) }
}

function told(text: string, reply: Response): Problem {
  try {
    return problemOf(JSON.parse(text), reply)
  } catch {
    return problemOf(null, reply)
  }
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}
