import { createLazyRoute, getRouteApi } from '@tanstack/react-router'
import { useSession } from '../api/session'
import { ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'
import { Tabs } from '../ui/Tabs'
import { Waiting } from '../ui/Waiting'
import { Files } from './Files'
import { History } from './History'
import { Key } from './Key'
import { Publish } from './Publish'
import type { Part } from './route'
import { Tasks } from './Tasks'
import { usePast } from './where'

export const Route = createLazyRoute('/workspace')({ component: Workspace })

const route = getRouteApi('/workspace')
const NAMES: readonly (readonly [Part, string])[] = [
  ['files', 'Files'],
  ['history', 'History'],
  ['tasks', 'Tasks'],
  ['publish', 'Publish'],
]

/** A workspace in plain words: files, what was done, what is to be done, and bringing it to everybody. */
function Workspace() {
  const { part } = route.useSearch()
  const go = route.useNavigate()
  const session = useSession()
  const past = usePast()
  if (past.isPending) return <Waiting what="Opening your workspace" />
  if (past.isError)
    return (
      <Page title="Workspace">
        <ProblemNote error={past.error} again={() => void past.refetch()} />
      </Page>
    )
  const { branch, repo, changes } = past.data
  return (
    <Page
      title={nameOf(branch)}
      below={`A copy of ${repo} that is yours alone. Nobody sees what you do here until you publish it, and everything can be undone.`}
      actions={session.state === 'in' && session.by === 'token' && <Key token={session.token} branch={branch} />}
    >
      <Tabs
        label="Parts of the workspace"
        value={part}
        onChange={(id) => void go({ search: (now) => ({ ...now, part: id as Part }) })}
        tabs={NAMES.map(([id, label]) => ({ id, label, count: id === 'history' ? changes.length : undefined }))}
      >
        {part === 'files' && <Files past={past.data} />}
        {part === 'history' && <History past={past.data} />}
        {part === 'tasks' && <Tasks />}
        {part === 'publish' && <Publish past={past.data} />}
      </Tabs>
    </Page>
  )
}

/** "sandbox-golden-otter" is read "Golden otter". */
function nameOf(branch: string): string {
  const words = branch.replace(/^sandbox-/, '').replaceAll('-', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}
