import { useMutation } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data } from '../api/client'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { TextField } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'

/** Try a suite of a branch on a prompt, in a run. */
export function Start({ suite, prompt: known, onClose }: { suite: string; prompt: string; onClose: () => void }) {
  const [name, setName] = useState(suite)
  const [repo, setRepo] = useState('')
  const [branch, setBranch] = useState('main')
  const [prompt, setPrompt] = useState(known)
  const start = useMutation({
    mutationFn: () => data(api.POST('/v1/evals/{suite}/run', { params: { path: { suite: name } }, body: { repo_name: repo || null, branch, prompt: prompt || null, models: [] } })),
  })
  return (
    <Dialog open onClose={onClose} title="Try a suite" actions={start.data ? <Button look="main" onClick={onClose}>Close</Button> : <Button look="main" type="submit" form="eval" busy={start.isPending}>Try it</Button>}>
      {start.data ? (
        <Note tone="good" role="status">
          {start.data.message} <Link to="/runs/$id" params={{ id: start.data.run_id }} className="text-accent underline">The run</Link>
        </Note>
      ) : (
        <form id="eval" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); start.mutate() }}>
          <TextField label="Suite" required value={name} onChange={setName} hint="The name of a file in evals/ of the branch." />
          <TextField label="Repository" value={repo} onChange={setRepo} hint="May be left out where there is one alone." />
          <TextField label="Branch" required value={branch} onChange={setBranch} />
          <TextField label="Prompt" value={prompt} onChange={setPrompt} hint="e.g. planner@1.3.0; else what the suite says" />
        </form>
      )}
      {start.isError && <ProblemNote error={start.error} />}
    </Dialog>
  )
}
