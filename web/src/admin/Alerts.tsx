import { useMutation, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Dialog } from '../ui/Dialog'
import { Code, Facts, json } from '../ui/Facts'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { adminRoute } from './route'

type Alert = Schemas['Alert']
const STATES = [['open', 'Open'], ['acked', 'Acknowledged'], ['resolved', 'Resolved']] as const

/** What needs a person's attention. */
export function Alerts() {
  const search = adminRoute.useSearch()
  const state = STATES.find(([each]) => each === search.state)?.[0] ?? 'open'
  const [shown, setShown] = useState<Alert | null>(null)
  return (
    <div className="flex flex-col gap-4">
      <nav aria-label="Which alerts" className="flex flex-wrap gap-1">
        {STATES.map(([each, word]) => (
          <Link key={each} to="/admin" search={{ tab: 'alerts', state: each }} aria-current={each === state ? 'true' : undefined} className={`rounded-full border px-3 py-0.5 text-sm ${each === state ? 'border-accent font-medium text-accent' : 'border-line text-muted hover:text-text'}`}>
            {word}
          </Link>
        ))}
      </nav>
      <Listing
        label="Alerts"
        queryKey={['alerts', { state }]}
        read={(cursor, signal) => data(api.GET('/v1/alerts', { params: { query: { state, limit: 100, cursor } }, signal }))}
        keyOf={(alert) => alert.id}
        onOpen={setShown}
        empty={`No alert is ${state === 'acked' ? 'acknowledged' : state}.`}
        command="builderos alert list"
        call={{ cli: `builderos alert list --state ${state}`, method: 'GET', path: `/v1/alerts?state=${state}`, mcp: { name: 'listAlerts', arguments: { state } } }}
        columns={[
          { id: 'rule', title: 'What', width: 'minmax(12rem, 1fr)', cell: (alert) => <button type="button" className="text-accent underline" onClick={() => setShown(alert)}>{alert.rule.replaceAll('_', ' ')}</button> },
          { id: 'severity', title: 'How bad', width: '8rem', cell: (alert) => <Status of={alert.severity} /> },
          { id: 'object', title: 'Where', width: 'minmax(12rem, 1fr)', cell: (alert) => harmless(alert.object) },
          { id: 'count', title: 'Times', width: '5rem', align: 'right', cell: (alert) => alert.count },
          { id: 'last', title: 'Last', width: '9rem', cell: (alert) => <Time at={alert.last_at} /> },
        ]}
      />
      {shown && <One alert={shown} onClose={() => setShown(null)} />}
    </div>
  )
}

function One({ alert, onClose }: { alert: Alert; onClose: () => void }) {
  const may = useMay()
  const cache = useQueryClient()
  const act = useMutation({
    mutationFn: (resolve: boolean) => data(api.POST('/v1/alerts/{id}/ack', { params: { path: { id: alert.id } }, body: { resolve } })),
    onSuccess: () => {
      void cache.invalidateQueries({ queryKey: ['alerts'] })
      onClose()
    },
  })
  const can = may('alert.ack') && alert.state !== 'resolved'
  return (
    <Dialog
      open
      wide
      onClose={onClose}
      title={alert.rule.replaceAll('_', ' ')}
      actions={
        can && (
          <>
            {alert.state === 'open' && (
              <Button busy={act.isPending} onClick={() => act.mutate(false)}>
                I look after it
              </Button>
            )}
            <Button look="main" busy={act.isPending} onClick={() => act.mutate(true)}>
              It is resolved
            </Button>
          </>
        )
      }
    >
      <Facts label="The alert" of={[['State', <Status key="state" of={alert.state} />], ['Where', alert.object], ['Times', String(alert.count)], ['First', <Time key="first" at={alert.first_at} />], ['Last', <Time key="last" at={alert.last_at} />], ['Acknowledged by', alert.acked_by]]} />
      <Code label="Details" text={json(alert.detail)} />
      <div>
        <CopyAs call={{ cli: `builderos alert ack ${alert.id}`, method: 'POST', path: `/v1/alerts/${alert.id}/ack`, body: { resolve: false }, mcp: { name: 'ackAlert', arguments: { id: alert.id, resolve: false } } }} />
      </div>
      {act.isError && <ProblemNote error={act.error} />}
    </Dialog>
  )
}
