import { useCallback } from 'react'
import { api, data } from '../api/client'
import { messages } from '../api/live'
import { credentials, useSession } from '../api/session'
import { buttonClass } from '../ui/Button'
import { EmptyState } from '../ui/EmptyState'
import type { LogHits } from '../ui/LogSearch'
import { LogView, type LogPiece } from '../ui/LogView'
import { harmless } from '../ui/plain'
import { hasEnded, type Step } from './data'
import { isBad } from './layout'
import type { Pane } from './Run'

/** The log of the chosen step; without one, of the step that a person would look at. */
export default function LogsTab({ id, steps, step, search, put }: Pane) {
  const shown = step ?? telling(steps)
  if (!shown) return <EmptyState title="Nothing was printed." command={`builderos logs ${id}`} />
  return <StepLog key={`${shown.id}.${shown.attempt}`} step={shown} line={search.line} onPlace={(line) => put({ line, step: shown.name })} find={search.find} onFind={(find) => put({ find: find || undefined })} />
}

const telling = (steps: readonly Step[]): Step | undefined =>
  steps.find((one) => isBad(one.status) && one.logs_ref) ?? steps.findLast((one) => one.status === 'running') ?? steps.findLast((one) => one.logs_ref !== null) ?? steps[0]

/** A part of a log as JSON; the other forms of the call are not asked for. */
const piece = (id: string, query: { line: number } | { tail: number }, signal: AbortSignal): Promise<LogPiece> =>
  data(api.GET('/v1/steps/{id}/logs', { params: { path: { id }, query: { ...query, limit: 65536, colours: true } }, signal })) as Promise<LogPiece>

const hits = (id: string, find: string, offset: number, signal: AbortSignal): Promise<LogHits> =>
  data(api.GET('/v1/steps/{id}/logs', { params: { path: { id }, query: { find, offset } }, signal })) as Promise<LogHits>

interface OfStep {
  step: Step
  line: number | undefined
  onPlace: (line: number) => void
  find: string | undefined
  onFind: (text: string) => void
}

function StepLog({ step, line, onPlace, find, onFind }: OfStep) {
  const { id } = step
  const session = useSession()
  const read = useCallback((from: number, signal: AbortSignal) => piece(id, { line: from }, signal), [id])
  const search = useCallback((text: string, offset: number, signal: AbortSignal) => hits(id, text, offset, signal), [id])
  const tail = useCallback((signal: AbortSignal) => piece(id, { tail: 1 }, signal), [id])
  const live = !hasEnded(step)
  const grows = useCallback((grown: () => void) => followed(id, grown), [id])
  return (
    <LogView
      label={`Log of ${harmless(step.name)}`}
      read={read}
      tail={tail}
      {...(live ? { grows } : {})}
      at={line}
      onPlace={onPlace}
      find={search}
      text={find}
      onText={onFind}
      actions={
        <>
          <span className="min-w-0 truncate">
            <bdi>{harmless(step.name)}</bdi>
            {step.attempt > 1 && `, attempt ${step.attempt}`}
          </span>
          {session.state === 'in' && session.by === 'cookie' && (
            <a className={buttonClass('plain', true)} href={`/v1/steps/${id}/logs?raw=true`} download>
              Download
            </a>
          )}
        </>
      }
      empty={step.start === null ? 'This step has not begun.' : 'This step has printed nothing.'}
    />
  )
}

const CALM_MS = 120
const AGAIN_MS = 1000

/** Follow a log until told to stop: says at most a few times a second that there is more. */
function followed(id: string, grown: () => void): () => void {
  const stop = new AbortController()
  let timer: ReturnType<typeof setTimeout> | undefined
  const say = () => {
    timer ??= setTimeout(() => {
      timer = undefined
      grown()
    }, CALM_MS)
  }
  const go = async () => {
    while (!stop.signal.aborted) {
      try {
        const reply = await fetch(`/v1/steps/${id}/logs?follow=true&tail=0`, { headers: { accept: 'text/event-stream', ...credentials('GET') }, signal: stop.signal, cache: 'no-store' })
        if (reply.status >= 400 && reply.status < 500) return
        if (reply.ok && reply.body) await messages(reply.body, () => undefined, say)
      } catch {
        if (stop.signal.aborted) return
      }
      say()
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
    }
  }
  void go()
  return () => {
    stop.abort()
    clearTimeout(timer)
  }
}
