import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Who } from '../shell/Who'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { CopyAs } from '../ui/CopyAs'
import { Dialog } from '../ui/Dialog'
import { Code, Facts } from '../ui/Facts'
import { TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'
import { Once } from './parts'
import { adminRoute } from './route'

const pretty = (body: string): string => {
  try {
    return JSON.stringify(JSON.parse(body), null, 2)
  } catch {
    return body
  }
}

/** Where events are sent to, what was sent, and sending it anew. */
export function Webhooks() {
  const search = adminRoute.useSearch()
  const can = useMay()('webhook.manage')
  const [making, setMaking] = useState(false)
  if (search.id) return <One id={search.id} can={can} />
  return (
    <Section title="Webhooks" actions={can && <Button icon="plus" onClick={() => setMaking(true)}>New webhook</Button>}>
      <Listing
        label="All webhooks"
        queryKey={['webhooks']}
        read={(_, signal) => data(api.GET('/v1/webhooks', { signal }))}
        keyOf={(hook) => hook.id}
        empty="Events are sent nowhere."
        command="builderos webhook create https://hooks.example.com/builderos"
        call={{ cli: 'builderos webhook list', method: 'GET', path: '/v1/webhooks', mcp: { name: 'listWebhooks', arguments: {} } }}
        columns={[
          { id: 'url', title: 'Address', width: 'minmax(16rem, 2fr)', cell: (hook) => <Link to="/admin" search={{ tab: 'webhooks', id: hook.id }} className="text-accent underline">{harmless(hook.url)}</Link> },
          { id: 'events', title: 'Events', width: 'minmax(12rem, 1fr)', cell: (hook) => hook.events.join(', ') || 'all' },
          { id: 'state', title: 'State', width: '8rem', cell: (hook) => <Status of={hook.state} /> },
          { id: 'failing', title: 'Failing since', width: '9rem', cell: (hook) => hook.failing_since && <Time at={hook.failing_since} /> },
        ]}
      />
      {making && <Make onClose={() => setMaking(false)} />}
    </Section>
  )
}

function One({ id, can }: { id: string; can: boolean }) {
  const cache = useQueryClient()
  const hook = useQuery({ queryKey: ['webhooks', id], queryFn: ({ signal }) => data(api.GET('/v1/webhooks/{id}', { params: { path: { id } }, signal })) })
  const [shown, setShown] = useState<string | null>(null)
  const [ending, setEnding] = useState(false)
  const params = { path: { id } }
  const done = () => cache.invalidateQueries({ queryKey: ['webhooks'] })
  const ping = useMutation({ mutationFn: () => data(api.POST('/v1/webhooks/{id}/ping', { params, body: {} })), onSuccess: done })
  const pause = useMutation({ mutationFn: (state: 'active' | 'paused') => data(api.POST('/v1/webhooks/{id}', { params, body: { state } })), onSuccess: done })
  const again = useMutation({
    mutationFn: (body: { delivery_id?: string; failed: boolean }) => data(api.POST('/v1/webhooks/{id}/redeliver', { params, body })),
    onSuccess: async (said) => {
      toast(said.message)
      await done()
    },
  })
  if (hook.isPending) return <Waiting />
  if (hook.isError) return <ProblemNote error={hook.error} again={() => void hook.refetch()} />
  const failed = ping.error ?? pause.error ?? again.error
  return (
    <div className="flex flex-col gap-4">
      <Link to="/admin" search={{ tab: 'webhooks' }} className="text-accent underline">
        All webhooks
      </Link>
      <Section
        title={harmless(hook.data.url)}
        actions={
          can && (
            <span className="flex flex-wrap gap-2">
              <Button busy={ping.isPending} onClick={() => ping.mutate()}>Try it</Button>
              {hook.data.state === 'active' ? <Button busy={pause.isPending} onClick={() => pause.mutate('paused')}>Pause</Button> : <Button busy={pause.isPending} onClick={() => pause.mutate('active')}>Wake it up</Button>}
              <Button busy={again.isPending} icon="undo" onClick={() => again.mutate({ failed: true })}>Send all that failed anew</Button>
              <Button look="danger" onClick={() => setEnding(true)}>End it</Button>
            </span>
          )
        }
      >
        {failed && <ProblemNote error={failed} />}
        <Facts label="The webhook" of={[['State', <Status key="state" of={hook.data.state} />], ['Events', hook.data.events.join(', ') || 'all'], ['What for', hook.data.description], ['Made', <Time key="made" at={hook.data.created_at} />], ['By', <Who key="by" id={hook.data.created_by} />]]} />
      </Section>
      <Section title="Deliveries">
        <Listing
          label="What was delivered"
          queryKey={['webhooks', id, 'deliveries']}
          read={(cursor, signal) => data(api.GET('/v1/webhooks/{id}/deliveries', { params: { ...params, query: { limit: 100, cursor } }, signal }))}
          keyOf={(one) => one.id}
          onOpen={(one) => setShown(one.id)}
          changing={(one) => one.state === 'pending'}
          empty="Nothing was sent yet."
          command={`builderos webhook ping ${id}`}
          call={{ cli: `builderos webhook log ${id}`, method: 'GET', path: `/v1/webhooks/${id}/deliveries`, mcp: { name: 'listDeliveries', arguments: { id } } }}
          columns={[
            { id: 'type', title: 'Event', width: 'minmax(12rem, 1fr)', cell: (one) => <button type="button" className="text-accent underline" onClick={() => setShown(one.id)}>{one.type}</button> },
            { id: 'state', title: 'State', width: '8rem', cell: (one) => <Status of={one.state} /> },
            { id: 'status', title: 'Answer', width: '7rem', cell: (one) => one.last?.status ?? one.last?.error ?? '' },
            { id: 'tries', title: 'Tries', width: '5rem', align: 'right', cell: (one) => one.attempts },
            { id: 'at', title: 'When', width: '9rem', cell: (one) => <Time at={one.created_at} /> },
            ...(can ? [{ id: 'acts', title: 'Acts', width: '9rem', cell: (one: Schemas['Delivery']) => one.state !== 'pending' && <Button small onClick={() => again.mutate({ delivery_id: one.id, failed: false })}>Send anew</Button> }] : []),
          ]}
        />
      </Section>
      {shown && <Delivery id={shown} onClose={() => setShown(null)} />}
      <Confirm open={ending} danger title="End this webhook?" act="End it" onClose={() => setEnding(false)} run={async () => { await data(api.DELETE('/v1/webhooks/{id}', { params })); await done() }}>
        <p>Nothing is sent to {harmless(hook.data.url)} any more.</p>
      </Confirm>
    </div>
  )
}

function Delivery({ id, onClose }: { id: string; onClose: () => void }) {
  const found = useQuery({ queryKey: ['webhooks', 'delivery', id], queryFn: ({ signal }) => data(api.GET('/v1/deliveries/{id}', { params: { path: { id } }, signal })) })
  return (
    <Dialog open wide onClose={onClose} title="Delivery">
      {found.isPending ? <Waiting /> : found.isError ? <ProblemNote error={found.error} /> : (
        <>
          <ol aria-label="Tries" className="list-decimal pl-5">
            {found.data.tries.map((one) => (
              <li key={one.at}>
                <Time at={one.at} />: {one.status ?? harmless(one.error ?? 'no answer')} {one.latency_ms !== null && `after ${one.latency_ms} ms`}
              </li>
            ))}
          </ol>
          <Code label="What was sent" text={pretty(found.data.body)} />
          <div>
            <CopyAs call={{ cli: `builderos webhook show ${id}`, method: 'GET', path: `/v1/deliveries/${id}`, mcp: { name: 'getDelivery', arguments: { id } } }} />
          </div>
        </>
      )}
    </Dialog>
  )
}

function Make({ onClose }: { onClose: () => void }) {
  const cache = useQueryClient()
  const [url, setUrl] = useState('')
  const [events, setEvents] = useState('')
  const [description, setDescription] = useState('')
  const make = useMutation({
    mutationFn: () => {
      const types = events.split(/[\s,]+/).filter(Boolean)
      return data(api.POST('/v1/webhooks', { body: { url, description, ...(types.length > 0 ? { events: types } : {}) } }))
    },
    onSuccess: () => cache.invalidateQueries({ queryKey: ['webhooks'] }),
  })
  if (make.data) return <Once what="The secret that signs what is sent" secret={(make.data as Schemas['NewWebhook']).secret} onClose={onClose} />
  return (
    <Dialog open onClose={onClose} title="New webhook" actions={<Button look="main" type="submit" form="webhook" busy={make.isPending}>Make it</Button>}>
      <form id="webhook" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); make.mutate() }}>
        <TextField label="Address" type="url" required value={url} onChange={setUrl} placeholder="https://hooks.example.com/builderos" />
        <TextField label="Events" value={events} onChange={setEvents} hint="e.g. approval.* alert.opened; empty: all of them" />
        <TextField label="What for" value={description} onChange={setDescription} />
      </form>
      {make.isError && <ProblemNote error={make.error} />}
    </Dialog>
  )
}
