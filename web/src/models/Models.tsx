import { useMutation, useQueryClient } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Dialog } from '../ui/Dialog'
import { TextArea, TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Tabs } from '../ui/Tabs'
import { Time } from '../ui/Time'
import { modelsRoute, MODELS_TABS } from './route'

export const Route = createLazyRoute('/models')({ component: Models })

function Models() {
  const search = modelsRoute.useSearch()
  const go = useNavigate()
  const may = useMay()
  const [making, setMaking] = useState(false)
  const tab = search.tab ?? 'models'
  return (
    <Page
      title="Models"
      below="What was made, which version stands where, and who let it."
      actions={
        <>
          <CopyAs call={tab === 'models' ? { cli: 'builderos model list', method: 'GET', path: '/v1/models', mcp: { name: 'listRegisteredModels', arguments: {} } } : { cli: 'builderos api listPromotions', method: 'GET', path: '/v1/promotions', mcp: { name: 'listPromotions', arguments: {} } }} />
          {may('registry.write') && <Button look="main" icon="plus" onClick={() => setMaking(true)}>New model</Button>}
        </>
      }
    >
      <Tabs label="Of the registry" tabs={[{ id: 'models', label: 'Models' }, { id: 'promotions', label: 'Promotions' }]} value={tab} onChange={(next) => void go({ to: '/models', search: { ...search, tab: MODELS_TABS.find((one) => one === next && one !== 'models') } })}>
        {tab === 'models' ? <List like={search.like} /> : <Promotions />}
      </Tabs>
      {making && <Make onClose={() => setMaking(false)} />}
    </Page>
  )
}

function List({ like }: { like: string | undefined }) {
  const go = useNavigate()
  const [typed, setTyped] = useState<string | null>(null)
  // What was typed means itself, wherever in the name it stands.
  const query = { like: like ? `%${like.replace(/[\\%_]/g, String.raw`\$&`)}%` : null, ignore_case: true }
  return (
    <div className="flex flex-col gap-4">
      <form role="search" className="flex flex-wrap items-end gap-3" onSubmit={(event) => { event.preventDefault(); void go({ to: '/models', search: { like: (typed ?? like ?? '').trim() || undefined } }) }}>
        <TextField label="Name" value={typed ?? like ?? ''} onChange={setTyped} />
        <Button type="submit" icon="search">Show</Button>
      </form>
      <Listing
        label="Models"
        queryKey={['models', query]}
        read={(cursor, signal) => data(api.GET('/v1/models', { params: { query: { ...query, limit: 100, cursor } }, signal }))}
        keyOf={(one) => one.id}
        onOpen={(one) => void go({ to: '/models/$name', params: { name: one.name } })}
        empty={like ? 'No model is called like this.' : 'No model is registered yet.'}
        command="builderos model register first-model"
        columns={[
          { id: 'name', title: 'Model', width: 'minmax(12rem, 2fr)', cell: (one) => <Link to="/models/$name" params={{ name: one.name }} className="font-medium text-accent underline"><bdi>{harmless(one.name)}</bdi></Link> },
          { id: 'latest', title: 'Newest', width: '6rem', align: 'right', cell: (one) => one.latest ?? '' },
          { id: 'production', title: 'In production', width: '8rem', align: 'right', cell: (one) => one.production ?? '' },
          { id: 'aliases', title: 'Aliases', width: 'minmax(9rem, 1fr)', cell: (one) => harmless(Object.entries(one.aliases).map(([alias, version]) => `${alias} → ${version}`).join(', ')) },
          { id: 'about', title: 'About', width: 'minmax(12rem, 2fr)', cell: (one) => <bdi>{harmless(one.description.slice(0, 200))}</bdi> },
          { id: 'changed', title: 'Changed', width: '9rem', cell: (one) => <Time at={one.updated_at} /> },
        ]}
      />
    </div>
  )
}

export const KIND_WORDS: Record<Schemas['Promotion']['kind'], string> = { run_to_model: 'Run to model', stage_to_prod: 'Into production', sandbox_to_pr: 'Branch to pull request' }

/** What goes where, in a line. */
export function said(one: Schemas['Promotion']): string {
  const [from, to] = [one.from as Record<string, unknown>, one.to as Record<string, unknown>]
  if (one.kind === 'stage_to_prod') return `${String(from.name ?? '')}@${String(from.version ?? '')}`
  if (one.kind === 'run_to_model') return `${String(from.source ?? from.run_id ?? '')} → ${String(to.name ?? '')}`
  return `${String(from.branch ?? '')} → ${String(to.target ?? 'main')}`
}

function Promotions() {
  const go = useNavigate()
  return (
    <Listing
      label="Promotions"
      queryKey={['models', 'promotions']}
      read={(cursor, signal) => data(api.GET('/v1/promotions', { params: { query: { limit: 100, cursor } }, signal }))}
      keyOf={(one) => one.id}
      onOpen={(one) => void go({ to: '/promotions/$id', params: { id: one.id } })}
      empty="Nobody asked for a promotion yet."
      command="builderos model promote first-model@1"
      columns={[
        { id: 'what', title: 'What', width: 'minmax(14rem, 2fr)', cell: (one) => <Link to="/promotions/$id" params={{ id: one.id }} className="font-medium text-accent underline"><bdi>{harmless(said(one))}</bdi></Link> },
        { id: 'kind', title: 'Kind', width: '11rem', cell: (one) => KIND_WORDS[one.kind] },
        { id: 'state', title: 'State', width: '9rem', cell: (one) => <Status of={one.state} /> },
        { id: 'why', title: 'Why', width: 'minmax(10rem, 2fr)', cell: (one) => <bdi>{harmless(one.reason.slice(0, 200))}</bdi> },
        { id: 'at', title: 'Asked', width: '9rem', cell: (one) => <Time at={one.created_at} /> },
      ]}
    />
  )
}

function Make({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState('')
  const [description, setDescription] = useState('')
  const cache = useQueryClient()
  const go = useNavigate()
  const make = useMutation({
    mutationFn: () => data(api.POST('/v1/models', { body: { name: name.trim(), description } })),
    onSuccess: async (made) => {
      await cache.invalidateQueries({ queryKey: ['models'] })
      await go({ to: '/models/$name', params: { name: made.name } })
    },
  })
  return (
    <Dialog open onClose={onClose} title="New model" actions={<Button look="main" type="submit" form="model" busy={make.isPending} disabled={name.trim() === ''}>Register it</Button>}>
      <form id="model" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); make.mutate() }}>
        <TextField label="Name" required value={name} onChange={setName} hint="No slash, colon or @." />
        <TextArea label="What it is" value={description} onChange={setDescription} />
      </form>
      {make.isError && <ProblemNote error={make.error} />}
    </Dialog>
  )
}
