import { useState } from 'react'
import { asProblem } from '../api/problem'
import { Button } from '../ui/Button'
import { Select, TextField } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { shownLine } from '../ui/plain'
import { asked, faultOf, type Key } from './keys'
import { STATE_WORDS } from './Experiments'
import { STATES, type RunsSearch } from './route'

interface Props {
  search: RunsSearch
  keys: readonly Key[]
  error: unknown
  put: (change: RunsSearch) => void
}

const MOST_OFFERED = 60

/** A search in the words of the server, with what is wrong in it shown where it stands. */
export function Filter({ search, keys, error, put }: Props) {
  const [typed, setTyped] = useState(search.filter ?? '')
  const problem = error === null ? null : asProblem(error)
  const fault = problem?.code === 'validation_failed' && search.filter ? faultOf(search.filter, problem.detail) : null
  const add = (text: string) => setTyped((was) => (was.trim() === '' ? text : `${was.trimEnd()} AND ${text}`))
  return (
    <form
      role="search"
      className="flex flex-col gap-2"
      onSubmit={(event) => {
        event.preventDefault()
        put({ filter: typed.trim() || undefined })
      }}
    >
      <div className="flex flex-wrap items-end gap-3">
        <div className="min-w-64 grow">
          <TextField label="Filter" value={typed} onChange={setTyped} placeholder="metrics.acc > 0.9 AND params.model = 'net'" spellCheck={false} autoComplete="off" className="font-mono" />
        </div>
        <div className="w-44"><Select label="Add" value="" onChange={(key) => key && add(key)} options={[['', 'A condition…'], ...keys.slice(0, MOST_OFFERED).flatMap((key) => beginning(key))]} /></div>
        <Select label="Which" value={search.state ?? 'active'} onChange={(state) => put({ state: STATES.find((one) => one === state && one !== 'active') })} options={STATE_WORDS} />
        <Button type="submit" icon="search">Show</Button>
        {search.filter && <Button look="quiet" onClick={() => put({ filter: undefined })}>Show all</Button>}
      </div>
      {fault && (
        <p className="font-mono text-sm break-all" aria-label="Where the fault is">
          {shownLine(fault[0], 400)}
          <mark className="bg-removed text-text underline decoration-bad decoration-wavy">{shownLine(fault[1], 400)}</mark>
          {shownLine(fault[2], 400)}
        </p>
      )}
      {problem && <ProblemNote error={problem} />}
    </form>
  )
}

/** How a condition on a key begins. */
function beginning(key: Key): (readonly [string, string])[] {
  const name = asked(key)
  return name === null ? [] : [[key.kind === 'metrics' ? `${name} > 0` : `${name} = ''`, shownLine(name, 80)]]
}
