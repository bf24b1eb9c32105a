import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { TextArea } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { harmless } from '../ui/plain'
import type { Shown } from './ExperimentRun'

/** The tag in which clients of MLflow keep what people write about a run. */
const TAG = 'mlflow.note.content'

/** What people wrote about a run. */
export function NoteOf({ run }: { run: Shown }) {
  const kept = run.tags[TAG] ?? ''
  const can = useMay()('experiment.write') && run.state === 'active'
  const [typed, setTyped] = useState<string | null>(null)
  const cache = useQueryClient()
  const save = useMutation({
    mutationFn: (text: string) => data(api.POST('/v1/experiment-runs/{id}/log', { params: { path: { id: run.id } }, body: { tags: { [TAG]: text } } })),
    onSuccess: async () => {
      await cache.invalidateQueries({ queryKey: ['experiments', 'run', run.id] })
      setTyped(null)
    },
  })
  if (typed === null) {
    return (
      <div className="flex flex-col items-start gap-2">
        <p className={`max-h-60 w-full overflow-y-auto whitespace-pre-wrap ${kept ? '' : 'text-muted'}`}>{kept ? harmlessLines(kept) : 'Nobody wrote anything about it.'}</p>
        {can && <Button small onClick={() => setTyped(kept)}>{kept ? 'Change the note' : 'Write a note'}</Button>}
      </div>
    )
  }
  return (
    <form className="flex flex-col gap-2" onSubmit={(event) => { event.preventDefault(); save.mutate(typed) }}>
      <TextArea label="About this run" value={typed} onChange={setTyped} maxLength={8000} />
      <div className="flex gap-2">
        <Button look="main" type="submit" busy={save.isPending}>Keep it</Button>
        <Button onClick={() => setTyped(null)}>Leave it</Button>
      </div>
      {save.isError && <ProblemNote error={save.error} />}
    </form>
  )
}

const harmlessLines = (text: string): string => text.split('\n').map(harmless).join('\n')
