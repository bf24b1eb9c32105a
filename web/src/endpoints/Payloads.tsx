import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { Who } from '../shell/Who'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { Code, Facts } from '../ui/Facts'
import { Listing } from '../ui/Listing'
import { Note } from '../ui/Note'
import { harmless, shownLine } from '../ui/plain'
import { Time } from '../ui/Time'
import type { One } from './Endpoints'
import { calledOf } from './Logs'

type Payload = Schemas['Payload']

/** What some calls were asked and answered, where the endpoint keeps that. */
export function Payloads({ one }: { one: One }) {
  const [shown, setShown] = useState<Payload | null>(null)
  const names = new Map(one.deployments.map((each) => [each.id, calledOf(each)]))
  const rate = one.payloads?.rate ?? 0
  return (
    <div className="flex flex-col gap-3">
      <Note>{rate > 0 ? `${(rate * 100).toLocaleString('en')} % of the calls are kept for ${one.payloads?.keep_days ?? 7} days, without the secrets that are known.` : 'No call is kept with what it was asked and answered. Settings changes that.'}</Note>
      <Listing
        label="Calls that were kept"
        queryKey={['endpoints', one.id, 'payloads']}
        read={(cursor, signal) => data(api.GET('/v1/endpoints/{id}/payloads', { params: { path: { id: one.id }, query: { limit: 50, cursor } }, signal }))}
        keyOf={(row) => row.id}
        changing={one.state === 'active' && rate > 0}
        onOpen={setShown}
        empty="No call was kept."
        command={`builderos endpoint change ${one.id} --payload-rate 0.1`}
        call={{ cli: `builderos endpoint payloads ${one.id}`, method: 'GET', path: `/v1/endpoints/${one.id}/payloads`, mcp: { name: 'listEndpointPayloads', arguments: { id: one.id } } }}
        columns={[
          { id: 'at', title: 'When', width: '9rem', cell: (row) => <Time at={row.at} /> },
          { id: 'status', title: 'Answer', width: '6rem', align: 'right', cell: (row) => row.status },
          { id: 'ms', title: 'Took', width: '7rem', align: 'right', cell: (row) => `${row.ms.toLocaleString('en', { maximumFractionDigits: 1 })} ms` },
          { id: 'input', title: 'Asked', width: 'minmax(12rem, 2fr)', cell: (row) => <bdi className="font-mono text-sm">{shownLine(row.input, 200)}</bdi> },
          { id: 'output', title: 'Answered', width: 'minmax(12rem, 2fr)', cell: (row) => <bdi className="font-mono text-sm">{shownLine(row.output, 200)}</bdi> },
          { id: 'show', title: 'All of it', width: '7rem', cell: (row) => <Button small onClick={() => setShown(row)}>Show</Button> },
        ]}
      />
      {shown && (
        <Dialog open wide onClose={() => setShown(null)} title={`A call of ${harmless(one.name)}`}>
          <Facts label="The call" of={[['When', <Time key="at" at={shown.at} />], ['Answered by', names.get(shown.deployment_id) ?? shown.deployment_id], ['By', <Who key="by" id={shown.actor} />], ['Answer', String(shown.status)], ['Request', shown.request_id], ['Forgotten', <Time key="gone" at={shown.expires_at} />], ['Cut', shown.cut && 'There was more than is kept.']]} />
          <h3 className="text-sm font-medium">Asked</h3>
          <Code label="Asked" text={shown.input} className="max-h-[25vh] shrink-0" />
          <h3 className="text-sm font-medium">Answered</h3>
          <Code label="Answered" text={shown.output} className="max-h-[25vh] shrink-0" />
        </Dialog>
      )}
    </div>
  )
}
