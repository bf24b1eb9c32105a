import { api, data } from '../api/client'
import { CopyAs } from '../ui/CopyAs'
import { Listing } from '../ui/Listing'
import { harmless } from '../ui/plain'
import { Time } from '../ui/Time'

/** Who read or used a thing, for those who may look into the record of accesses. */
export function Readers({ id }: { id: string }) {
  const query = { object: id }
  return (
    <div className="flex flex-col gap-2">
      <div><CopyAs call={{ cli: 'builderos audit reads', method: 'GET', path: `/v1/audit/access?object=${id}`, mcp: { name: 'searchAccess', arguments: query } }} /></div>
      <Listing
        label="Who read it"
        queryKey={['access', query]}
        read={(cursor, signal) => data(api.GET('/v1/audit/access', { params: { query: { ...query, limit: 100, cursor } }, signal }))}
        keyOf={(one) => `${one.id} ${one.path ?? ''}`}
        empty="Nobody read it, as far as it is kept."
        command="builderos audit reads"
        className="max-h-[50vh]"
        columns={[
          { id: 'at', title: 'When', width: '9rem', cell: (one) => <Time at={one.at} /> },
          { id: 'who', title: 'Who', width: 'minmax(10rem, 1fr)', cell: (one) => harmless(one.actor_name) },
          { id: 'role', title: 'As', width: '7rem', cell: (one) => one.role },
          { id: 'how', title: 'How', width: '11rem', cell: (one) => one.action },
          { id: 'path', title: 'What of it', width: 'minmax(8rem, 1fr)', cell: (one) => <bdi>{harmless(one.path ?? '')}</bdi> },
          { id: 'door', title: 'Through', width: '6rem', cell: (one) => one.door },
        ]}
      />
    </div>
  )
}
