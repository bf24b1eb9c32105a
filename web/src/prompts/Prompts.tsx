import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { api, data } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Dialog } from '../ui/Dialog'
import { Field, TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { Note, ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Time } from '../ui/Time'
import { Edit } from './Edit'
import { promptsRoute } from './route'

export const Route = createLazyRoute('/prompts')({ component: Prompts })

const BEGIN = 'name: greeter\nversion: 1.0.0\nchangelog: The first.\ninputs: {goal: string}\ntemplate: |\n  Say what {{ goal }} wants.\n'

function Prompts() {
  const search = promptsRoute.useSearch()
  const go = useNavigate()
  const may = useMay()
  const [typed, setTyped] = useState<{ q?: string; tag?: string }>({})
  const [importing, setImporting] = useState(false)
  const [writing, setWriting] = useState(false)
  const query = { name: search.q ?? null, tag: search.tag ?? null }
  const find = (event: FormEvent) => {
    event.preventDefault()
    void go({ to: '/prompts', search: { q: (typed.q ?? search.q ?? '').trim() || undefined, tag: (typed.tag ?? search.tag ?? '').trim() || undefined } })
  }
  return (
    <Page
      title="Prompts"
      below="What agents are told, in versions that never change."
      actions={
        <>
          <CopyAs call={{ cli: 'builderos prompt list', method: 'GET', path: '/v1/prompts', mcp: { name: 'listPrompts', arguments: query } }} />
          {may('prompt.publish') && <Button onClick={() => setImporting(true)}>Import a pack</Button>}
          {may('prompt.publish') && <Button look="main" icon="plus" onClick={() => setWriting(true)}>New prompt</Button>}
        </>
      }
    >
      <form role="search" onSubmit={find} className="flex flex-wrap items-end gap-3">
        <TextField label="Name" value={typed.q ?? search.q ?? ''} onChange={(q) => setTyped({ ...typed, q })} />
        <TextField label="Tag" value={typed.tag ?? search.tag ?? ''} onChange={(tag) => setTyped({ ...typed, tag })} />
        <Button type="submit" icon="search">Search</Button>
      </form>
      <Listing
        label="Prompts"
        queryKey={['prompts', query]}
        read={(cursor, signal) => data(api.GET('/v1/prompts', { params: { query: { ...query, limit: 100, cursor } }, signal }))}
        keyOf={(one) => one.name}
        onOpen={(one) => void go({ to: '/prompts/$name', params: { name: one.name } })}
        empty="No prompt fits."
        command="builderos prompt publish prompts/planner.yaml"
        columns={[
          { id: 'name', title: 'Name', width: 'minmax(12rem, 1fr)', cell: (one) => <Link to="/prompts/$name" params={{ name: one.name }} className="font-medium text-accent underline">{harmless(one.name)}</Link> },
          { id: 'latest', title: 'In use', width: '7rem', cell: (one) => one.latest ?? 'none' },
          { id: 'version', title: 'Newest', width: '7rem', cell: (one) => one.version },
          { id: 'versions', title: 'Versions', width: '6rem', align: 'right', cell: (one) => one.versions },
          { id: 'tags', title: 'Tags', width: 'minmax(8rem, 1fr)', cell: (one) => one.tags.map(harmless).join(', ') },
          { id: 'changelog', title: 'What changed last', width: 'minmax(14rem, 2fr)', cell: (one) => harmless(one.changelog) },
          { id: 'at', title: 'When', width: '9rem', cell: (one) => (one.created_at ? <Time at={one.created_at} /> : 'comes along') },
        ]}
      />
      {writing && <Edit title="A new prompt" content={BEGIN} onClose={() => setWriting(false)} />}
      {importing && <Import onClose={() => setImporting(false)} />}
    </Page>
  )
}

/** Base64 of bytes, piece by piece: a pack can be longer than a call may have arguments. */
async function packed(file: File): Promise<string> {
  const bytes = new Uint8Array(await file.arrayBuffer())
  let text = ''
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000))
  return btoa(text)
}

function Import({ onClose }: { onClose: () => void }) {
  const cache = useQueryClient()
  const [file, setFile] = useState<File | null>(null)
  const send = useMutation({
    mutationFn: async (dry_run: boolean) => data(api.POST('/v1/prompts/import', { body: { content: file ? await packed(file) : '', dry_run } })),
    onSuccess: (_, dry) => (dry ? undefined : cache.invalidateQueries({ queryKey: ['prompts'] })),
  })
  return (
    <Dialog
      open
      onClose={onClose}
      title="Import a pack"
      actions={
        <>
          <Button disabled={!file} busy={send.isPending} onClick={() => send.mutate(true)}>Look it over</Button>
          <Button look="main" disabled={!file} busy={send.isPending} onClick={() => send.mutate(false)}>Publish all of it</Button>
        </>
      }
    >
      <Field label="The pack" hint="promptpack.zip: all of its versions are published, or none.">
        {(ids) => <input {...ids} type="file" accept=".zip" onChange={(event) => setFile(event.target.files?.[0] ?? null)} />}
      </Field>
      {send.isError && <ProblemNote error={send.error} />}
      {send.data && (
        <Note tone="good" role="status">
          <p>{send.data.message}</p>
          <p>New: {send.data.published.join(', ') || 'none'}. Known already: {send.data.unchanged.join(', ') || 'none'}.</p>
        </Note>
      )}
    </Dialog>
  )
}
