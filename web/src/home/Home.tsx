import { useQuery } from '@tanstack/react-query'
import { createLazyRoute, Link } from '@tanstack/react-router'
import { api, data } from '../api/client'
import { EmptyState } from '../ui/EmptyState'
import { ProblemNote } from '../ui/Note'
import { Page, Panel, Section } from '../ui/Page'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'

export const Route = createLazyRoute('/')({ component: Home })

function Home() {
  return (
    <Page title="Home">
      <Section title="Waits for you">
        <WaitsForYou />
      </Section>
    </Page>
  )
}

function WaitsForYou() {
  const inbox = useQuery({
    queryKey: ['inbox', { limit: 50 }],
    queryFn: ({ signal }) => data(api.GET('/v1/inbox', { params: { query: { limit: 50 } }, signal })),
  })
  if (inbox.isPending) return <Waiting />
  if (inbox.isError) return <ProblemNote error={inbox.error} again={() => void inbox.refetch()} />
  if (inbox.data.items.length === 0) return <EmptyState title="Nothing waits for you." command="builderos approvals" />
  return (
    <Panel>
      <ul className="divide-y divide-line">
        {inbox.data.items.map((item) => (
          <li key={item.id} className="flex flex-wrap items-center gap-x-4 gap-y-1 px-4 py-2.5">
            <span className="min-w-0 grow">
              {item.kind === 'approval' ? (
                <Link to="/approvals" className="font-medium text-accent underline">
                  {item.title}
                </Link>
              ) : (
                <span className="font-medium">{item.title}</span>
              )}
            </span>
            <Status of={item.weight} />
            <Time at={item.at} className="text-sm text-muted" />
          </li>
        ))}
      </ul>
    </Panel>
  )
}
