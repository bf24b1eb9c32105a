import { api, data } from '../api/client'
import { CopyAs } from '../ui/CopyAs'
import { Select } from '../ui/Field'
import { Note } from '../ui/Note'
import { Pieces } from '../ui/Pieces'
import { harmless } from '../ui/plain'
import type { One } from './Endpoints'

type Deployment = One['deployments'][number]
export const calledOf = (each: Deployment): string => `${each.model}@${each.version}, start ${each.number}`

interface Props {
  one: One
  /** The deployment whose log is shown; the newest where it is missing. */
  chosen: string | undefined
  onChoose: (id: string | undefined) => void
}

/** What the processes of an endpoint printed. */
export function Logs({ one, chosen, onChoose }: Props) {
  const shown = one.deployments.find((each) => each.id === chosen) ?? one.deployments[0]
  if (!shown) return <Note>Nothing was started here.</Note>
  return (
    <div className="flex flex-col gap-3">
      <div className="flex flex-wrap items-end justify-between gap-3">
        <Select label="Of" value={shown.id} onChange={(id) => onChoose(id === one.deployments[0]?.id ? undefined : id)} options={one.deployments.map((each) => [each.id, harmless(calledOf(each))] as const)} />
        <CopyAs call={{ cli: `builderos endpoint logs ${one.id}`, method: 'GET', path: `/v1/endpoints/${one.id}/logs?deployment=${shown.id}`, mcp: { name: 'endpointLogs', arguments: { id: one.id, deployment: shown.id } } }} />
      </div>
      <Pieces
        key={shown.id}
        title="What it printed"
        queryKey={['endpoints', one.id, 'logs', shown.id, shown.status, shown.starts]}
        grows={shown.status === 'starting' || shown.status === 'ready'}
        empty="It printed nothing."
        read={(offset, limit, signal) => data(api.GET('/v1/endpoints/{id}/logs', { params: { path: { id: one.id }, query: { deployment: shown.id, offset, limit } }, signal }))}
      />
    </div>
  )
}
