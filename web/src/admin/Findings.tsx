import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { TextArea, TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'

type Finding = Schemas['SecretFinding']
const KEY = ['secret-findings']

/** Credentials that were kept out of git; one that is none may be let in for a while. */
export function Findings({ can }: { can: boolean }) {
  const [asked, setAsked] = useState<Finding | null>(null)
  return (
    <Section title="Kept out of git">
      <Listing
        label="Credentials that were found"
        queryKey={KEY}
        read={(cursor, signal) => data(api.GET('/v1/secret-findings', { params: { query: { limit: 100, cursor } }, signal }))}
        keyOf={(one) => one.fingerprint}
        empty="No credential was written into a file."
        command="builderos secret findings"
        call={{ cli: 'builderos secret findings', method: 'GET', path: '/v1/secret-findings', mcp: { name: 'listSecretFindings', arguments: {} } }}
        columns={[
          { id: 'rule', title: 'What', width: 'minmax(10rem, 1fr)', cell: (one) => harmless(one.rule) },
          { id: 'preview', title: 'How it begins', width: 'minmax(9rem, 1fr)', cell: (one) => <code>{shownLine(one.preview, 60)}</code> },
          { id: 'file', title: 'File', width: 'minmax(14rem, 2fr)', cell: (one) => <bdi>{harmless(one.path)}:{one.line}</bdi> },
          { id: 'branch', title: 'Branch', width: 'minmax(10rem, 1fr)', cell: (one) => harmless(one.branch) },
          { id: 'state', title: 'State', width: '8rem', cell: (one) => <Status of={one.allowed ? 'allowed' : 'kept out'} /> },
          { id: 'last', title: 'Last', width: '9rem', cell: (one) => <Time at={one.last_at} /> },
          ...(can ? [{ id: 'acts', title: 'Acts', width: '8rem', cell: (one: Finding) => <Button small onClick={() => setAsked(one)}>{one.allowed ? 'Forbid' : 'Let it in'}</Button> }] : []),
        ]}
      />
      {asked && <Decide finding={asked} onClose={() => setAsked(null)} />}
    </Section>
  )
}

function Decide({ finding, onClose }: { finding: Finding; onClose: () => void }) {
  const cache = useQueryClient()
  const [reason, setReason] = useState('')
  const [hours, setHours] = useState('24')
  const decision = finding.allowed ? 'forbid' : 'allow'
  const send = useMutation({
    mutationFn: () => data(api.POST('/v1/secret-findings/{fingerprint}', { params: { path: { fingerprint: finding.fingerprint } }, body: { decision, reason, hours: Number(hours) } })),
    onSuccess: async () => {
      await cache.invalidateQueries({ queryKey: KEY })
      onClose()
    },
  })
  return (
    <Dialog open onClose={onClose} title={decision === 'allow' ? `Let this into ${harmless(finding.path)}?` : `Keep this out of ${harmless(finding.path)} again?`} actions={<Button look={decision === 'allow' ? 'danger' : 'main'} type="submit" form="finding" busy={send.isPending}>{decision === 'allow' ? 'Let it in' : 'Keep it out'}</Button>}>
      <form id="finding" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); send.mutate() }}>
        <TextArea label="Why" required minLength={3} value={reason} onChange={setReason} />
        {decision === 'allow' && <TextField label="For how many hours" type="number" min={1} max={2160} required value={hours} onChange={setHours} />}
      </form>
      {send.isError && <ProblemNote error={send.error} />}
    </Dialog>
  )
}
