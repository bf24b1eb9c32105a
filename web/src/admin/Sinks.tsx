import { useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { Dialog } from '../ui/Dialog'
import { Checkbox, Select, TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { Note, ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { Once } from './parts'

type Sink = Schemas['Sink']
const KINDS = [['file', 'A file of this server'], ['webhook', 'A webhook'], ['syslog', 'A syslog server'], ['s3', 'A bucket']] as const
const STREAMS = [['ledger', 'The record of acts'], ['access', 'Who read what']] as const
const KEY = ['keeping', 'sinks']
const trouble = (sink: Sink): string => sink.last_error ?? sink.test_error ?? ''

/** Where the record is sent to, and how far each place has it. */
export function Sinks({ can }: { can: boolean }) {
  const cache = useQueryClient()
  const [making, setMaking] = useState(false)
  const [ending, setEnding] = useState<Sink | null>(null)
  const test = useMutation({ mutationFn: (id: string) => data(api.POST('/v1/audit/sinks/{id}/test', { params: { path: { id } }, body: {} })), onSuccess: () => cache.invalidateQueries({ queryKey: KEY }) })
  return (
    <Section title="Where the record goes" actions={can && <Button icon="plus" onClick={() => setMaking(true)}>New sink</Button>}>
      {test.isError && <ProblemNote error={test.error} />}
      <Failing />
      <Listing
        label="All sinks"
        queryKey={KEY}
        read={(_, signal) => data(api.GET('/v1/audit/sinks', { signal }))}
        keyOf={(one) => one.id}
        empty="The record is sent nowhere."
        command="builderos audit sink-add siem --webhook https://siem.example.com/builderos"
        call={{ cli: 'builderos audit sinks', method: 'GET', path: '/v1/audit/sinks', mcp: { name: 'listSinks', arguments: {} } }}
        columns={[
          { id: 'name', title: 'Name', width: 'minmax(9rem, 1fr)', cell: (one) => harmless(one.name) },
          { id: 'kind', title: 'Where', width: '11rem', cell: (one) => KINDS.find(([kind]) => kind === one.kind)?.[1] ?? one.kind },
          { id: 'stream', title: 'What', width: '11rem', cell: (one) => STREAMS.find(([stream]) => stream === one.stream)?.[1] ?? one.stream },
          { id: 'state', title: 'State', width: '8rem', cell: (one) => <Status of={one.failing_since ? 'failed' : 'active'} /> },
          { id: 'cursor', title: 'Has it up to line', width: '9rem', align: 'right', cell: (one) => one.cursor.toLocaleString('en') },
          { id: 'last', title: 'Last sent', width: '9rem', cell: (one) => one.last_at && <Time at={one.last_at} /> },
          { id: 'tested', title: 'Tried', width: '9rem', cell: (one) => one.tested_at && <Time at={one.tested_at} /> },
          { id: 'error', title: 'What is wrong', width: 'minmax(12rem, 2fr)', cell: (one) => shownLine(trouble(one), 300) },
          ...(can ? [{ id: 'acts', title: 'Acts', width: '11rem', cell: (one: Sink) => (
            <span className="flex gap-2">
              <Button small onClick={() => test.mutate(one.id)}>Try it</Button>
              <Button small look="danger" onClick={() => setEnding(one)}>End</Button>
            </span>
          ) }] : []),
        ]}
      />
      {making && <Make onClose={() => setMaking(false)} />}
      {ending && (
        <Confirm open danger title={`Send nothing to ${harmless(ending.name)} any more?`} act="End it" onClose={() => setEnding(null)} run={async () => { await data(api.DELETE('/v1/audit/sinks/{id}', { params: { path: { id: ending.id } } })); await cache.invalidateQueries({ queryKey: KEY }) }}>
          <p>What it has got so far stays where it is.</p>
        </Confirm>
      )}
    </Section>
  )
}

/** Sinks that do not get what they should: nobody looks for that in the last column of a table. */
function Failing() {
  const known = useInfiniteQuery({ queryKey: [...KEY, 'pages'], queryFn: ({ signal }) => data(api.GET('/v1/audit/sinks', { signal })), initialPageParam: '', getNextPageParam: () => undefined })
  const failing = known.data?.pages.flatMap((page) => page.items).filter((one) => one.failing_since) ?? []
  return failing.slice(0, 10).map((one) => (
    <Note key={one.id} tone="bad" role="alert">
      <p className="font-medium"><bdi>{harmless(one.name)}</bdi> gets nothing since <Time at={one.failing_since ?? one.created_at} />.</p>
      <p><bdi>{shownLine(trouble(one), 300)}</bdi></p>
      <p className="text-sm text-muted">It is tried again and again, and gets all that it missed.</p>
    </Note>
  ))
}

interface Typed {
  url: string
  host: string
  port: string
  bucket: string
  region: string
  endpoint: string
  access: string
  secret: string
}
const NOTHING: Typed = { url: '', host: '', port: '6514', bucket: '', region: 'us-east-1', endpoint: '', access: '', secret: '' }

/** What a kind of sink wants to know, as the server wants it. */
function placeOf(kind: Sink['kind'], typed: Typed): Partial<Schemas['SinkIn']> {
  if (kind === 'file') return { file: { max_mb: 100 } }
  if (kind === 'webhook') return { webhook: { url: typed.url } }
  if (kind === 'syslog') return { syslog: { host: typed.host, port: Number(typed.port), transport: 'tls', facility: 13 } }
  return { s3: { bucket: typed.bucket, region: typed.region, endpoint: typed.endpoint || null, access_key_id: typed.access, secret_access_key: typed.secret, prefix: '' } }
}

function Make({ onClose }: { onClose: () => void }) {
  const cache = useQueryClient()
  const [name, setName] = useState('')
  const [kind, setKind] = useState<Sink['kind']>('file')
  const [stream, setStream] = useState<Sink['stream']>('ledger')
  const [start, setStart] = useState(true)
  const [typed, setTyped] = useState(NOTHING)
  const make = useMutation({
    mutationFn: () => data(api.POST('/v1/audit/sinks', { body: { name, stream, from_start: start, ...placeOf(kind, typed) } })),
    onSuccess: async (made) => {
      await cache.invalidateQueries({ queryKey: KEY })
      if (!made.secret) onClose()
    },
  })
  const text = (field: keyof Typed, label: string, type: 'text' | 'url' | 'number' | 'password' = 'text', required = true) => (
    <TextField label={label} type={type} required={required} value={typed[field]} onChange={(value) => setTyped({ ...typed, [field]: value })} autoComplete="off" />
  )
  if (make.data?.secret) return <Once what="The secret that signs what is sent" secret={make.data.secret} onClose={onClose} />
  return (
    <Dialog open onClose={onClose} title="New sink" actions={<Button look="main" type="submit" form="sink" busy={make.isPending}>Make it</Button>}>
      <form id="sink" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); make.mutate() }}>
        <TextField label="Name" required value={name} onChange={setName} />
        <Select label="Where to" value={kind} onChange={(value) => setKind(KINDS.find(([each]) => each === value)?.[0] ?? 'file')} options={KINDS} />
        <Select label="What" value={stream} onChange={(value) => setStream(STREAMS.find(([each]) => each === value)?.[0] ?? 'ledger')} options={STREAMS} />
        {kind === 'webhook' && text('url', 'Address', 'url')}
        {kind === 'syslog' && <>{text('host', 'Host')}{text('port', 'Port', 'number')}</>}
        {kind === 's3' && <>{text('bucket', 'Bucket')}{text('region', 'Region')}{text('endpoint', 'Address of another service that speaks S3', 'url', false)}{text('access', 'Access key')}{text('secret', 'Secret key', 'password')}</>}
        <Checkbox label="What was recorded before, too" checked={start} onChange={setStart} />
      </form>
      {make.isError && <ProblemNote error={make.error} />}
    </Dialog>
  )
}
