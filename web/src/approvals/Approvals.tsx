import { useQuery } from '@tanstack/react-query'
import { createLazyRoute } from '@tanstack/react-router'
import { api, data } from '../api/client'
import { EmptyState } from '../ui/EmptyState'
import { ProblemNote } from '../ui/Note'
import { Page, Panel } from '../ui/Page'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'

export const Route = createLazyRoute('/approvals')({ component: Approvals })

function Approvals() {
  const list = useQuery({
    queryKey: ['approvals', { state: 'pending' }],
    queryFn: ({ signal }) => data(api.GET('/v1/approvals', { params: { query: { state: 'pending', limit: 200 } }, signal })),
  })
  return (
    <Page title="Approvals" below="What waits for a decision.">
      {list.isPending ? (
        <Waiting />
      ) : list.isError ? (
        <ProblemNote error={list.error} again={() => void list.refetch()} />
      ) : list.data.items.length === 0 ? (
        <EmptyState title="Nothing waits for a decision." command="builderos approvals" />
      ) : (
        <Panel>
          <ul className="divide-y divide-line">
            {list.data.items.map((one) => (
              <li key={one.id} className="flex flex-wrap items-center gap-x-4 gap-y-1 px-4 py-2.5">
                <span className="min-w-0 grow font-medium">{one.reason || one.action}</span>
                <Status of={one.risk} />
                <Time at={one.created_at} className="text-sm text-muted" />
              </li>
            ))}
          </ul>
        </Panel>
      )}
    </Page>
  )
}
