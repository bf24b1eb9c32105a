import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Diff } from '../approvals/Diff'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { EmptyState } from '../ui/EmptyState'
import { Code, Facts } from '../ui/Facts'
import { TextArea } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'

export const policyQuery = {
  queryKey: ['policies'],
  queryFn: ({ signal }: { signal: AbortSignal }) => data(api.GET('/v1/policies', { signal })),
}

/** The file in force, and proposing another one. */
export function File({ draft, onDraft }: { draft: string | null; onDraft: (text: string | null) => void }) {
  const may = useMay()
  const found = useQuery(policyQuery)
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} again={() => void found.refetch()} />
  const file = found.data
  const can = may('policy.write')
  return (
    <Section
      title={file.version === 0 ? 'No file of your own' : `Version ${file.version}`}
      actions={
        <>
          <CopyAs call={{ cli: 'builderos policy show', method: 'GET', path: '/v1/policies', mcp: { name: 'getPolicy', arguments: {} } }} />
          {can && draft === null && <Button onClick={() => onDraft(file.content || 'version: 1\n')}>Change it</Button>}
        </>
      }
    >
      <Facts label="The file" of={[['Written by', file.author], ['Put into force by', file.activated_by], ['Since', file.activated_at && <Time at={file.activated_at} />], ['Hash', <code key="digest" className="break-all">{file.digest}</code>]]} />
      {draft !== null && can ? <Propose draft={draft} onDraft={onDraft} /> : file.content ? <Code label="Policy file" text={file.content} /> : <EmptyState title="The rules that come with BuilderOS decide alone." command="builderos policy propose builderos.policy.yaml" />}
      <Notes notes={file.notes} />
    </Section>
  )
}

function Notes({ notes }: { notes: Schemas['PolicyOut']['notes'] }) {
  if (notes.length === 0) return null
  return (
    <ul aria-label="Notes" className="list-disc pl-5 text-sm">
      {notes.map((note) => (
        <li key={`${note.line} ${note.note}`}>
          Line {note.line}: {harmless(note.note)}
        </li>
      ))}
    </ul>
  )
}

function Propose({ draft, onDraft }: { draft: string; onDraft: (text: string | null) => void }) {
  const cache = useQueryClient()
  const [reason, setReason] = useState('')
  const send = useMutation({
    mutationFn: (dry_run: boolean) => data(api.PUT('/v1/policies', { body: { content: draft, reason: reason || 'Look it over', dry_run } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: ['policies'] }),
  })
  return (
    <form className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); send.mutate(false) }}>
      <TextArea label="The new file" value={draft} onChange={onDraft} spellCheck={false} rows={14} className="font-mono text-sm" hint="It can only narrow what the shipped rules allow." />
      <TextArea label="Why" required value={reason} onChange={setReason} />
      <div className="flex flex-wrap gap-2">
        <Button busy={send.isPending} onClick={() => send.mutate(true)}>Look it over</Button>
        <Link to="/policies" search={{ tab: 'consequences' }} className="self-center text-accent underline">See its consequences</Link>
        <Button look="main" type="submit" busy={send.isPending}>Propose it</Button>
        <Button onClick={() => onDraft(null)}>Forget it</Button>
      </div>
      {send.isError && <ProblemNote error={send.error} />}
      {send.data && (
        <>
          <Note tone="good" role="status">
            {send.data.message} {send.data.approval_id && <Link to="/approvals" search={{ id: send.data.approval_id }} className="text-accent underline">The approval</Link>}
          </Note>
          <Notes notes={send.data.notes} />
          {send.data.diff && <Diff text={send.data.diff} />}
        </>
      )}
    </form>
  )
}
