import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data } from '../api/client'
import { Button } from '../ui/Button'
import { TextArea, TextField } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { Panel } from '../ui/Page'
import { toast } from '../ui/toasts'
import { useWhere } from './where'

/** Asked once, of an untouched workspace: what it is for. It may be left alone. */
export function Project() {
  const where = useWhere()
  const cache = useQueryClient()
  const [name, setName] = useState('')
  const [goals, setGoals] = useState('')
  const begin = useMutation({
    mutationFn: () =>
      data(
        api.POST('/sandbox/init', {
          body: { ...where, mode: 'project', project_name: name.trim(), goals: goals.split('\n').map((goal) => goal.trim()).filter(Boolean) },
        }),
      ),
    onSuccess: () => {
      toast('Your project has a name, goals, and a list of first tasks.')
      return cache.invalidateQueries()
    },
  })
  return (
    <Panel className="p-4">
      <form
        aria-label="Name the project"
        className="flex flex-col gap-3"
        onSubmit={(event) => {
          event.preventDefault()
          begin.mutate()
        }}
      >
        <h2>What do you want to build?</h2>
        <p className="text-muted">With a name and goals you get a list of first tasks. You can also just open a file and begin.</p>
        <TextField label="Name of the project" value={name} onChange={setName} required autoComplete="off" />
        <TextArea label="Goals" hint="One in each line." value={goals} onChange={setGoals} />
        {begin.isError && <ProblemNote error={begin.error} />}
        <div>
          <Button type="submit" look="main" busy={begin.isPending}>
            Set it up
          </Button>
        </div>
      </form>
    </Panel>
  )
}
