import { useMutation, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { Select, TextField } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'
import { ENV_WORDS, ENVS } from './Deployments'

type Env = NonNullable<Schemas['DeployIn']['env']>

/** Deploy a branch; to production the name of the environment is typed. */
export function Deploy({ repo, branch, env: wanted = 'preview', onClose }: { repo: string; branch: string; env?: Env; onClose: () => void }) {
  const cache = useQueryClient()
  const [where, setWhere] = useState({ repo, branch })
  const [env, setEnv] = useState<Env>(wanted)
  const [typed, setTyped] = useState('')
  const start = useMutation({
    mutationFn: () => data(api.POST('/v1/deployments', { body: { env, repo_name: where.repo || null, branch: where.branch || null } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: ['deployments'] }),
  })
  return (
    <Dialog open onClose={onClose} title="Deploy" actions={start.data ? <Button look="main" onClick={onClose}>Close</Button> : <Button look="main" type="submit" form="deploy" busy={start.isPending} disabled={env === 'prod' && typed !== 'prod'}>Deploy</Button>}>
      {start.data ? (
        <Note tone="good" role="status">
          {start.data.message} <Link to="/runs/$id" params={{ id: start.data.run_id }} className="text-accent underline">The run</Link>
        </Note>
      ) : (
        <form id="deploy" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); start.mutate() }}>
          <TextField label="Repository" value={where.repo} onChange={(value) => setWhere({ ...where, repo: value })} />
          <TextField label="Branch" required value={where.branch} onChange={(value) => setWhere({ ...where, branch: value })} hint="It needs a deploy.yaml." />
          <Select label="Environment" value={env} onChange={(value) => setEnv(ENVS.find((each) => each === value) ?? 'preview')} options={ENVS.map((each) => [each, ENV_WORDS[each]] as const)} />
          {env === 'prod' && <TextField label="Type prod to go on" value={typed} onChange={setTyped} autoComplete="off" />}
        </form>
      )}
      {start.isError && <ProblemNote error={start.error} />}
    </Dialog>
  )
}
