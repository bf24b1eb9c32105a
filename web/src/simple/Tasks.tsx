import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { EmptyState } from '../ui/EmptyState'
import { TextArea, TextField } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { Panel } from '../ui/Page'
import { shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'
import { useWhere } from './where'

type Task = Schemas['TaskOut']
type Move = Pick<Schemas['LifecycleIn'], 'action'> & Partial<Schemas['LifecycleIn']>

/** What is to be done, and what is next. */
export function Tasks() {
  const where = useWhere()
  const [finishing, setFinishing] = useState<Task | null>(null)
  const [adding, setAdding] = useState(false)
  const tasks = useQuery({
    queryKey: ['commits', where, 'tasks'],
    queryFn: ({ signal }) => data(api.POST('/tasks/query', { body: { ...where, mode: 'list', limit: 200 }, signal })),
  })
  const move = useMove()
  if (tasks.isPending) return <Waiting />
  if (tasks.isError) return <ProblemNote error={tasks.error} again={() => void tasks.refetch()} />
  return (
    <div className="flex flex-col gap-3">
      <div>
        <Button icon="plus" onClick={() => setAdding(true)}>
          New task
        </Button>
      </div>
      {move.isError && <ProblemNote error={move.error} />}
      {tasks.data.items.length === 0 ? (
        <EmptyState title="There are no tasks." command="builderos task create 1_first 'The first thing to do'" />
      ) : (
        <Panel>
          <ul aria-label="Tasks" className="divide-y divide-line">
            {tasks.data.items.map((task) => (
              <Row key={task.id} task={task} move={(to) => move.mutate(to)} busy={move.isPending} finish={() => setFinishing(task)} />
            ))}
          </ul>
        </Panel>
      )}
      {adding && <Add onClose={() => setAdding(false)} taken={tasks.data.items.map((task) => task.id)} />}
      {finishing && <Finish task={finishing} onClose={() => setFinishing(null)} />}
    </div>
  )
}

function Row({ task, move, busy, finish }: { task: Task; move: (to: Move) => void; busy: boolean; finish: () => void }) {
  const act = (action: Move['action']) => () => move({ action, task_id: task.id })
  return (
    <li className="flex flex-wrap items-center gap-x-3 gap-y-1 px-4 py-2.5">
      <span className="min-w-0 grow">
        <span className="font-medium">{shownLine(task.title, 200)}</span>
        {task.waiting_for.length > 0 && <span className="block text-sm text-muted">after {shownLine(task.waiting_for.join(', '), 200)}</span>}
        {task.reason && <span className="block text-sm text-muted">{shownLine(task.reason, 300)}</span>}
      </span>
      <Status of={task.status} />
      {task.status === 'backlog' && task.waiting_for.length === 0 && (
        <Button small disabled={busy} onClick={act('activate')}>
          Make it ready
        </Button>
      )}
      {(task.status === 'ready' || task.status === 'blocked') && (
        <Button small disabled={busy} onClick={act('start')}>
          Start
        </Button>
      )}
      {task.status === 'in_progress' && (
        <Button small look="main" onClick={finish}>
          Done
        </Button>
      )}
      {(task.status === 'done' || task.status === 'failed') && (
        <Button small disabled={busy} onClick={act('reopen')}>
          Open again
        </Button>
      )}
    </li>
  )
}

function useMove() {
  const where = useWhere()
  const cache = useQueryClient()
  return useMutation({
    mutationFn: (move: Move) => data(api.POST('/tasks/lifecycle', { body: { ...where, ...move } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: ['commits'] }),
  })
}

function Add({ onClose, taken }: { onClose: () => void; taken: readonly string[] }) {
  const [title, setTitle] = useState('')
  const move = useMove()
  const go = async () => {
    await move.mutateAsync({ action: 'create', task_id: idOf(title, taken), title: title.trim() })
    toast('Added.')
    onClose()
  }
  return (
    <Dialog open onClose={onClose} title="A new task">
      <form
        className="flex flex-col gap-3"
        onSubmit={(event) => {
          event.preventDefault()
          void go().catch(() => undefined) // shown below
        }}
      >
        <TextField label="What is to be done?" value={title} onChange={setTitle} required autoComplete="off" maxLength={200} />
        {move.isError && <ProblemNote error={move.error} />}
        <div>
          <Button type="submit" look="main" busy={move.isPending}>
            Add it
          </Button>
        </div>
      </form>
    </Dialog>
  )
}

/** A name for a task made of its title, e.g. `buy_tea`; a number behind it where it is taken. */
function idOf(title: string, taken: readonly string[]): string {
  const words = title.normalize('NFKD').toLowerCase().match(/[a-z0-9]+/g) ?? ['task']
  const name = words.join('_').slice(0, 40)
  for (let number = 1; ; number++) {
    const id = number === 1 ? name : `${name}_${number}`
    if (!taken.includes(id)) return id
  }
}

function Finish({ task, onClose }: { task: Task; onClose: () => void }) {
  const where = useWhere()
  const cache = useQueryClient()
  const [how, setHow] = useState('')
  const finish = useMutation({
    mutationFn: () => data(api.POST('/tasks/complete', { body: { ...where, task_id: task.id, reasoning: how.trim() } })),
    onSuccess: async () => {
      toast('Done.')
      onClose()
      await cache.invalidateQueries({ queryKey: ['commits'] })
    },
  })
  return (
    <Dialog open onClose={onClose} title={shownLine(task.title, 120)}>
      <form
        className="flex flex-col gap-3"
        onSubmit={(event) => {
          event.preventDefault()
          finish.mutate()
        }}
      >
        <TextArea label="What was done, and why so?" value={how} onChange={setHow} required />
        {finish.isError && <ProblemNote error={finish.error} />}
        <div>
          <Button type="submit" look="main" busy={finish.isPending}>
            It is done
          </Button>
        </div>
      </form>
    </Dialog>
  )
}
