import { api, data } from '../api/client'
import { useMay } from '../api/may'
import { buttonClass } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Icon } from '../ui/Icon'
import { Listing } from '../ui/Listing'
import { harmless } from '../ui/plain'
import { Time } from '../ui/Time'
import { addressed, Filters, instant } from './parts'
import { adminRoute } from './route'

/** Who read which file, branch or artifact. */
export function Access() {
  const search = adminRoute.useSearch()
  const may = useMay()
  const query = { path: search.path ?? null, branch: search.branch ?? null, actor: search.actor ?? null, action: search.type ?? null, object: search.object ?? null, from: instant(search.from), to: instant(search.to) }
  const asked = addressed(query)
  return (
    <div className="flex flex-col gap-4">
      <Filters fields={[['path', 'File'], ['branch', 'Branch'], ['actor', 'Who'], ['type', 'How'], ['object', 'Object'], ['from', 'From', 'date'], ['to', 'Until', 'date']]} />
      <div className="flex flex-wrap gap-2">
        <CopyAs call={{ cli: 'builderos audit reads', method: 'GET', path: `/v1/audit/access${asked}`, mcp: { name: 'searchAccess', arguments: query } }} />
        {may('audit.export') && (
          <a href="/v1/audit/access/export?format=csv" download className={buttonClass('plain', true)}>
            <Icon name="download" /> All that is kept (CSV)
          </a>
        )}
      </div>
      <Listing
        label="Who read what"
        queryKey={['access', query]}
        read={(cursor, signal) => data(api.GET('/v1/audit/access', { params: { query: { ...query, limit: 100, cursor } }, signal }))}
        keyOf={(one) => `${one.id} ${one.path ?? ''}`}
        empty={search.path ? `Nobody read ${harmless(search.path)}, as far as it is kept.` : 'Nobody read anything, as far as it is kept.'}
        command="builderos audit reads"
        columns={[
          { id: 'at', title: 'When', width: '9rem', cell: (one) => <Time at={one.at} /> },
          { id: 'who', title: 'Who', width: '14rem', cell: (one) => harmless(one.actor_name) },
          { id: 'role', title: 'As', width: '7rem', cell: (one) => one.role },
          { id: 'path', title: 'File', width: 'minmax(14rem, 2fr)', cell: (one) => <bdi>{harmless(one.path ?? '')}</bdi> },
          { id: 'branch', title: 'Branch', width: 'minmax(10rem, 1fr)', cell: (one) => harmless(one.branch ?? '') },
          { id: 'how', title: 'How', width: '9rem', cell: (one) => one.action },
          { id: 'door', title: 'Through', width: '6rem', cell: (one) => one.door },
        ]}
      />
    </div>
  )
}
