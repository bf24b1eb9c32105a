import { useMutation } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { takeToken } from '../api/session'
import { Button } from '../ui/Button'
import { TextField } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { openWorkspace } from './open'

const asked = (): string => new URLSearchParams(location.search).get('repo') ?? ''

/** A workspace for somebody without an account. A link with `?repo=` names the project already. */
export function Start() {
  const [repo, setRepo] = useState(asked)
  const go = useNavigate()
  const start = useMutation({
    mutationFn: () => openWorkspace(repo.trim()),
    onSuccess: (opened) => {
      takeToken(opened.reuse_token)
      void go({ to: '/workspace', search: { part: 'files' } })
    },
  })
  return (
    <form
      aria-label="Start a workspace"
      className="flex flex-col gap-3 rounded-lg border border-line bg-panel p-4"
      onSubmit={(event) => {
        event.preventDefault()
        start.mutate()
      }}
    >
      <h2>I want to try something</h2>
      <p>You get a copy of the project that is yours alone. No account, and nothing you do touches the original.</p>
      <TextField label="Project" hint="Its name, as whoever invited you told you." value={repo} onChange={setRepo} autoComplete="off" spellCheck={false} required />
      {start.isError && <ProblemNote error={start.error} />}
      <div>
        <Button type="submit" look="main" busy={start.isPending}>
          Start a workspace
        </Button>
      </div>
    </form>
  )
}
