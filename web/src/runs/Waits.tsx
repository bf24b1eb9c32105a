import { useMutation } from '@tanstack/react-query'
import { lazy, Suspense, useState } from 'react'
import { api, data } from '../api/client'
import { useMay } from '../api/may'
import { cache } from '../api/query'
import { Button } from '../ui/Button'
import { TextField } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { Panel } from '../ui/Page'
import { harmless } from '../ui/plain'
import type { Gate, View } from './data'

const Decision = lazy(() => import('../approvals/Decision').then((file) => ({ default: file.Decision })))

/** What the run waits for a person with, in sight however far the page is scrolled. */
export function Waits({ id, view }: { id: string; view: View }) {
  const waiting = (view.gates ?? []).filter((gate) => gate.state === 'waiting')
  const approval = waiting.find((gate) => gate.kind === 'approval')
  const question = waiting.find((gate) => gate.kind === 'question')
  if (!approval && !question) return null
  return (
    <>
      {approval?.approval_id && (
        <div className="min-h-40 lg:sticky lg:top-14 lg:z-2">
          <Suspense>
            <Decision key={approval.approval_id} id={approval.approval_id} />
          </Suspense>
        </div>
      )}
      {question && (
        <Panel className="p-4">
          <Question key={question.step_id} id={id} gate={question} />
        </Panel>
      )}
      {waiting.length > 1 && <p className="text-sm text-muted">{waiting.length - 1} more behind this one.</p>}
    </>
  )
}

function Question({ id, gate }: { id: string; gate: Gate }) {
  const may = useMay(id)
  const [text, setText] = useState('')
  const choices = Array.isArray(gate.question?.choices) ? gate.question.choices.filter((one): one is string => typeof one === 'string') : []
  const answer = useMutation({
    mutationFn: (said: string) => data(api.POST('/v1/runs/{id}/answer', { params: { path: { id } }, body: { answer: said, step: gate.step_id } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: ['run', id] }),
  })
  return (
    <form
      aria-label="Answer"
      className="flex flex-col gap-2"
      onSubmit={(event) => {
        event.preventDefault()
        if (text.trim()) answer.mutate(text)
      }}
    >
      <p>
        <span className="font-medium">
          <bdi>{harmless(gate.name ?? '')}</bdi> asks:
        </span>{' '}
        {harmless(String(gate.question?.message ?? '').slice(0, 2000))}
      </p>
      {may('run.answer') ? (
        choices.length > 0 ? (
          <div className="flex flex-wrap gap-2">
            {choices.map((choice) => (
              <Button key={choice} busy={answer.isPending} onClick={() => answer.mutate(choice)}>
                {harmless(choice).slice(0, 200)}
              </Button>
            ))}
          </div>
        ) : (
          <div className="flex flex-wrap items-end gap-2">
            <div className="min-w-60 grow">
              <TextField label="Your answer" value={text} onChange={setText} maxLength={20000} autoComplete="off" />
            </div>
            <Button type="submit" look="main" busy={answer.isPending} disabled={!text.trim()}>
              Answer
            </Button>
          </div>
        )
      ) : (
        <p className="text-muted">You may read this run, but not answer it.</p>
      )}
      {answer.isError && <ProblemNote error={answer.error} />}
    </form>
  )
}
