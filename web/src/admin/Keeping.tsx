import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data } from '../api/client'
import { useMay } from '../api/may'
import { Who } from '../shell/Who'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { CopyAs } from '../ui/CopyAs'
import { Dialog } from '../ui/Dialog'
import { Facts } from '../ui/Facts'
import { TextArea, TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { Sinks } from './Sinks'

/** Where the record goes, what must not be forgotten, and how long the rest is kept. */
export function Keeping() {
  const can = useMay()('audit.manage')
  return (
    <div className="flex flex-col gap-6">
      <Sinks can={can} />
      <Holds can={can} />
      <Retention can={can} />
    </div>
  )
}

function Holds({ can }: { can: boolean }) {
  const cache = useQueryClient()
  const [making, setMaking] = useState(false)
  const [ending, setEnding] = useState<string | null>(null)
  return (
    <Section title="Legal holds" actions={can && <Button icon="plus" onClick={() => setMaking(true)}>Begin a hold</Button>}>
      <Listing
        label="All holds"
        queryKey={['keeping', 'holds']}
        read={(_, signal) => data(api.GET('/v1/audit/holds', { signal }))}
        keyOf={(one) => one.id}
        empty="Nothing is held."
        command={'builderos audit hold --reason "…"'}
        call={{ cli: 'builderos audit hold', method: 'GET', path: '/v1/audit/holds', mcp: { name: 'listHolds', arguments: {} } }}
        columns={[
          { id: 'what', title: 'What is held', width: 'minmax(12rem, 1fr)', cell: (one) => (one.subject ? harmless(one.subject) : 'everything') },
          { id: 'why', title: 'Why', width: 'minmax(14rem, 2fr)', cell: (one) => harmless(one.reason) },
          { id: 'state', title: 'State', width: '8rem', cell: (one) => <Status of={one.released_at ? 'released' : 'active'} /> },
          { id: 'by', title: 'By', width: 'minmax(9rem, 1fr)', cell: (one) => <Who id={one.created_by} /> },
          { id: 'since', title: 'Since', width: '9rem', cell: (one) => <Time at={one.created_at} /> },
          ...(can ? [{ id: 'acts', title: 'Acts', width: '8rem', cell: (one: { id: string; released_at: string | null }) => !one.released_at && <Button small onClick={() => setEnding(one.id)}>Release</Button> }] : []),
        ]}
      />
      {making && <Hold onClose={() => setMaking(false)} />}
      {ending && (
        <Confirm open danger title="Release this hold?" act="Release it" onClose={() => setEnding(null)} run={async () => { await data(api.DELETE('/v1/audit/holds/{id}', { params: { path: { id: ending } } })); await cache.invalidateQueries({ queryKey: ['keeping', 'holds'] }) }}>
          <p>Retention and erasure may take away what it kept.</p>
        </Confirm>
      )}
    </Section>
  )
}

function Hold({ onClose }: { onClose: () => void }) {
  const cache = useQueryClient()
  const [subject, setSubject] = useState('')
  const [reason, setReason] = useState('')
  const send = useMutation({
    mutationFn: () => data(api.POST('/v1/audit/holds', { body: { reason, subject: subject.trim() || null } })),
    onSuccess: async () => {
      await cache.invalidateQueries({ queryKey: ['keeping', 'holds'] })
      onClose()
    },
  })
  return (
    <Dialog open onClose={onClose} title="Begin a hold" actions={<Button look="main" type="submit" form="hold" busy={send.isPending}>Begin it</Button>}>
      <form id="hold" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); send.mutate() }}>
        <TextArea label="Why" required value={reason} onChange={setReason} />
        <TextField label="Whom it concerns" value={subject} onChange={setSubject} hint="Id of a member or actor; empty: everything is held." />
      </form>
      {send.isError && <ProblemNote error={send.error} />}
    </Dialog>
  )
}

const days = (value: number | null): string => (value === null ? 'for ever' : `${value.toLocaleString('en')} days`)

function Retention({ can }: { can: boolean }) {
  const [changing, setChanging] = useState(false)
  const found = useQuery({ queryKey: ['keeping', 'retention'], queryFn: ({ signal }) => data(api.GET('/v1/audit/retention', { signal })) })
  return (
    <Section
      title="How long things are kept"
      actions={
        <span className="flex gap-2">
          <CopyAs call={{ cli: 'builderos audit retention', method: 'GET', path: '/v1/audit/retention', mcp: { name: 'getRetention', arguments: {} } }} />
          {can && found.data && <Button onClick={() => setChanging(true)}>Change</Button>}
        </span>
      }
    >
      {found.isPending ? <Waiting /> : found.isError ? <ProblemNote error={found.error} again={() => void found.refetch()} /> : (
        <>
          <Facts label="Retention" of={[['Acts', 'for ever'], ['Who read what', days(found.data.access_days)], ['What people wrote', days(found.data.words_days)]]} />
          {changing && <Change access={found.data.access_days} words={found.data.words_days} onClose={() => setChanging(false)} />}
        </>
      )}
    </Section>
  )
}

function Change({ access, words, onClose }: { access: number; words: number | null; onClose: () => void }) {
  const cache = useQueryClient()
  const [reads, setReads] = useState(String(access))
  const [texts, setTexts] = useState(words === null ? '' : String(words))
  const send = useMutation({
    mutationFn: () => data(api.POST('/v1/audit/retention', { body: { access_days: Number(reads), words_days: texts ? Number(texts) : null } })),
    onSuccess: async () => {
      await cache.invalidateQueries({ queryKey: ['keeping', 'retention'] })
      onClose()
    },
  })
  return (
    <Dialog open onClose={onClose} title="How long things are kept" actions={<Button look="main" type="submit" form="retention" busy={send.isPending}>Change it</Button>}>
      <form id="retention" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); send.mutate() }}>
        <TextField label="Who read what, days" type="number" min={1} max={36_500} required value={reads} onChange={setReads} />
        <TextField label="What people wrote, days" type="number" min={1} max={36_500} value={texts} onChange={setTexts} hint="Empty: for ever. Lines of the record are kept always; what is older goes for good." />
      </form>
      {send.isError && <ProblemNote error={send.error} />}
    </Dialog>
  )
}
