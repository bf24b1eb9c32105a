import { useMutation, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { TextArea, TextField } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Table } from '../ui/Table'
import { Time } from '../ui/Time'
import { policyQuery } from './File'

type Change = Schemas['Change'] & { n: number }

/** Which decisions another file would change: of what was done in the last days, and of all that it speaks of. */
export function Consequences({ draft, onDraft }: { draft: string | null; onDraft: (text: string) => void }) {
  const file = useQuery(policyQuery)
  const content = draft ?? file.data?.content ?? ''
  const [days, setDays] = useState('7')
  const compare = useMutation({ mutationFn: () => data(api.POST('/v1/policies/diff', { body: { content, days: Number(days) } })) })
  return (
    <div className="flex flex-col gap-4">
      <form className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); compare.mutate() }}>
        <TextArea label="The file that might come into force" value={content} onChange={onDraft} rows={10} spellCheck={false} className="font-mono text-sm" />
        <div className="flex flex-wrap items-end gap-3">
          <div className="w-40">
            <TextField label="Acts of the last days" type="number" min={1} max={90} value={days} onChange={setDays} />
          </div>
          <Button look="main" type="submit" busy={compare.isPending} disabled={!content}>Compare</Button>
          <CopyAs call={{ cli: 'builderos policy diff builderos.policy.yaml', method: 'POST', path: '/v1/policies/diff', body: { content, days: Number(days) } }} />
        </div>
      </form>
      {compare.isError && <ProblemNote error={compare.error} />}
      {compare.data && (
        <>
          <Note tone={compare.data.changed_lines + compare.data.changed_cells > 0 ? 'warn' : 'good'} role="status">
            Of {compare.data.lines.toLocaleString('en')} recorded acts {compare.data.changed_lines.toLocaleString('en')} would be decided otherwise, of {compare.data.cells.toLocaleString('en')} possible ones {compare.data.changed_cells.toLocaleString('en')}.{!compare.data.complete && ' There are more than were looked at.'}
          </Note>
          <Changes title="What was done" rows={compare.data.recorded} />
          <Changes title="What could be done" rows={compare.data.possible} />
        </>
      )}
    </div>
  )
}

function Changes({ title, rows }: { title: string; rows: readonly Schemas['Change'][] }) {
  if (rows.length === 0) return null
  return (
    <Section title={title}>
      <Table
        label={`${title}: changes`}
        rows={rows.map((row, n): Change => ({ ...row, n }))}
        keyOf={(row) => String(row.n)}
        className="max-h-[45vh]"
        columns={[
          { id: 'action', title: 'Act', width: 'minmax(10rem, 1fr)', cell: (row) => row.action },
          { id: 'before', title: 'Now', width: '9rem', cell: (row) => row.before.replace('_', ' ') },
          { id: 'after', title: 'Then', width: '9rem', cell: (row) => row.after.replace('_', ' ') },
          { id: 'agent', title: 'Who', width: 'minmax(8rem, 1fr)', cell: (row) => harmless(row.agent) },
          { id: 'where', title: 'Where', width: 'minmax(10rem, 1fr)', cell: (row) => harmless([row.project, row.branch].filter(Boolean).join(' / ')) },
          { id: 'paths', title: 'Files', width: 'minmax(10rem, 1fr)', cell: (row) => row.paths.slice(0, 5).map(harmless).join(', ') },
          { id: 'at', title: 'When', width: '9rem', cell: (row) => row.at && <Time at={row.at} /> },
        ]}
      />
    </Section>
  )
}
