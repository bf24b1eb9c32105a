import { useMutation } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data } from '../api/client'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { Checkbox, TextArea, TextField } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'

/** Give an agent a task on a branch: a run of its own. */
export function Task({ name, repo, branch, onClose }: { name: string; repo: string; branch: string; onClose: () => void }) {
  const [where, setWhere] = useState({ repo, branch })
  const [goal, setGoal] = useState('')
  const [tests, setTests] = useState('')
  const [commit, setCommit] = useState(true)
  const start = useMutation({
    mutationFn: () => data(api.POST('/v1/agents/{name}/runs', { params: { path: { name } }, body: { goal, commit, inputs: {}, tests: tests || null, repo_name: where.repo || null, branch: where.branch || null } })),
  })
  return (
    <Dialog open onClose={onClose} title={`A task for ${name}`} actions={start.data ? <Button look="main" onClick={onClose}>Close</Button> : <Button look="main" type="submit" form="task" busy={start.isPending}>Start</Button>}>
      {start.data ? (
        <Note tone="good" role="status">
          {start.data.message} <Link to="/runs/$id" params={{ id: start.data.run_id }} className="text-accent underline">The run</Link>
        </Note>
      ) : (
        <form id="task" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); start.mutate() }}>
          <TextArea label="What it is to do" required value={goal} onChange={setGoal} />
          <TextField label="Repository" value={where.repo} onChange={(value) => setWhere({ ...where, repo: value })} />
          <TextField label="Branch" value={where.branch} onChange={(value) => setWhere({ ...where, branch: value })} />
          <TextField label="Tests" value={tests} onChange={setTests} hint="A command that has to end well before anything is committed." />
          <Checkbox label="Commit what it leaves" checked={commit} onChange={setCommit} />
        </form>
      )}
      {start.isError && <ProblemNote error={start.error} />}
    </Dialog>
  )
}
