import { useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Lineage } from '../lineage/Lineage'
import { Readers } from '../lineage/Readers'
import { Look } from '../experiments/Files'
import { bytes } from '../runs/ArtifactsTab'
import { Who } from '../shell/Who'
import { Button, IconButton } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { Facts } from '../ui/Facts'
import { Select, TextArea, TextField } from '../ui/Field'
import { Section } from '../ui/Page'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Table } from '../ui/Table'
import { Tabs } from '../ui/Tabs'
import { Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { Scoring } from './Scoring'
import { modelRoute, MODEL_TABS, type ModelSearch } from './route'

type ModelVersion = Schemas['ModelVersion']
const TAB_WORDS = { files: 'Files', scoring: 'Scored data', lineage: 'Lineage', readers: 'Who read or served it' } as const

/** One version: where it stands, how it gets further, its files, where it comes from. */
export function Version({ one, production }: { one: ModelVersion; production: number | null }) {
  const search = modelRoute.useSearch()
  const go = useNavigate()
  const may = useMay()
  const audits = may('audit.read')
  const tab = search.tab === 'readers' && !audits ? 'files' : (search.tab ?? 'files')
  const put = (change: ModelSearch) => void go({ to: '/models/$name', params: { name: one.name }, search: { ...search, version: one.version, ...change }, replace: true })
  const tabs = MODEL_TABS.filter((each) => each !== 'readers' || audits).map((each) => ({ id: each, label: TAB_WORDS[each], ...(each === 'files' ? { count: one.files.length } : {}) }))
  return (
    <Section title={`Version ${one.version}`} actions={<Acts one={one} production={production} />}>
      <Facts
        label={`Version ${one.version}`}
        of={[
          ['Stage', <Status key="stage" of={one.stage} />],
          ['Aliases', <Aliases key="aliases" one={one} can={may('registry.write')} />],
          ['From', one.run_id ? <Link key="run" to="/experiment-runs/$id" params={{ id: one.run_id }} className="text-accent underline">{one.run_id}</Link> : one.source],
          ['Hash', <code key="hash" className="break-all">{one.digest}</code>],
          ['About', one.description],
          ['Tags', Object.entries(one.tags).slice(0, 60).map(([key, value]) => shownLine(`${key}: ${value}`, 200)).join(', ')],
          ['Made', <Time key="made" at={one.created_at} />],
          ['By', <Who key="by" id={one.created_by} />],
        ]}
      />
      <Tabs label="Of this version" tabs={tabs} value={tab} onChange={(next) => put({ tab: MODEL_TABS.find((each) => each === next && each !== 'files') })}>
        {tab === 'files' && <Files one={one} file={search.file} onFile={(file) => put({ file })} />}
        {tab === 'scoring' && <Scoring one={one} />}
        {tab === 'lineage' && <Lineage id={one.id} />}
        {tab === 'readers' && <Readers id={one.id} />}
      </Tabs>
    </Section>
  )
}

function Files({ one, file, onFile }: { one: ModelVersion; file: string | undefined; onFile: (file: string) => void }) {
  const chosen = one.files.find((each) => each.artifact_id === file)
  return (
    <div className="grid gap-3 lg:grid-cols-[minmax(18rem,1fr)_2fr]">
      <Table
        label="Files of the version"
        rows={one.files}
        keyOf={(each) => each.path}
        className="max-h-[50vh]"
        columns={[
          { id: 'path', title: 'File', width: 'minmax(10rem, 2fr)', cell: (each) => <button type="button" aria-pressed={each.artifact_id === file} onClick={() => onFile(each.artifact_id)} className="max-w-full truncate text-accent underline"><bdi>{harmless(each.path)}</bdi></button> },
          { id: 'size', title: 'Size', width: '6rem', align: 'right', cell: (each) => bytes(each.size) },
        ]}
      />
      {chosen ? <Look key={chosen.artifact_id} id={chosen.artifact_id} /> : <p className="text-muted">Choose a file to look at it.</p>}
    </div>
  )
}

function Aliases({ one, can }: { one: ModelVersion; can: boolean }) {
  const cache = useQueryClient()
  const [adding, setAdding] = useState(false)
  const [alias, setAlias] = useState('')
  const add = async () => {
    await data(api.POST('/v1/models/{name}/aliases', { params: { path: { name: one.name } }, body: { alias: alias.trim(), version: one.version } }))
    await cache.invalidateQueries({ queryKey: ['models'] })
    setAlias('')
  }
  const remove = async (which: string) => {
    await data(api.DELETE('/v1/models/{name}/aliases/{alias}', { params: { path: { name: one.name, alias: which } } }))
    await cache.invalidateQueries({ queryKey: ['models'] })
  }
  if (!can && one.aliases.length === 0) return <span className="text-muted">none</span>
  return (
    <span className="flex flex-wrap items-center gap-2">
      {one.aliases.map((each) => (
        <span key={each} className="inline-flex items-center rounded bg-raised pl-2 text-sm">
          {harmless(each)}
          {can && <IconButton icon="close" label={`Forget the alias ${harmless(each)}`} className="size-7!" onClick={() => void remove(each).catch((error: unknown) => toast(error instanceof Error ? error.message : '', { tone: 'bad' }))} />}
        </span>
      ))}
      {can && <Button small icon="plus" onClick={() => setAdding(true)}>Alias</Button>}
      <Confirm open={adding} onClose={() => setAdding(false)} title={`An alias for version ${one.version}`} act="Keep it" run={add}>
        <TextField label="Alias" value={alias} onChange={setAlias} hint="Letters, digits, - and _. If another version has it, it moves here." />
      </Confirm>
    </span>
  )
}

/** Where a version may go from where it stands. Into production it comes by a promotion alone. */
const STEPS: Record<ModelVersion['stage'], readonly ModelVersion['stage'][]> = { registered: ['staged', 'retired'], staged: ['registered', 'retired'], production: ['retired'], retired: [] }
const STEP_WORDS: Record<ModelVersion['stage'], string> = { registered: 'Registered', staged: 'Staged', production: 'In production', retired: 'Retired' }

function Acts({ one, production }: { one: ModelVersion; production: number | null }) {
  const may = useMay()
  const cache = useQueryClient()
  const go = useNavigate()
  const [ask, setAsk] = useState<'stage' | 'promote' | null>(null)
  const [stage, setStage] = useState(STEPS[one.stage][0] ?? 'registered')
  const [reason, setReason] = useState('')
  const change = async () => {
    await data(api.POST('/v1/models/{name}/versions/{version}/stage', { params: { path: { name: one.name, version: String(one.version) } }, body: { stage, reason } }))
    await cache.invalidateQueries({ queryKey: ['models'] })
  }
  const promote = async () => {
    const asked = await data(api.POST('/v1/promotions', { body: { kind: 'stage_to_prod', from: { name: one.name, version: one.version }, to: {}, reason } }))
    await cache.invalidateQueries({ queryKey: ['models'] })
    await go({ to: '/promotions/$id', params: { id: asked.id } })
  }
  return (
    <span className="flex flex-wrap gap-2">
      {STEPS[one.stage].length > 0 && may('registry.write') && <Button onClick={() => { setStage(STEPS[one.stage][0] ?? 'registered'); setAsk('stage') }}>Change the stage</Button>}
      {one.stage === 'staged' && may('registry.promote') && <Button look="main" onClick={() => setAsk('promote')}>Promote to production</Button>}
      {ask === 'stage' && (
        <Confirm open onClose={() => setAsk(null)} title={`Where does version ${one.version} stand?`} act="Change it" run={change}>
          <Select label="Stage" value={stage} onChange={(value) => setStage(STEPS[one.stage].find((each) => each === value) ?? stage)} options={STEPS[one.stage].map((each) => [each, STEP_WORDS[each]] as const)} />
          <TextArea label="Why" value={reason} onChange={setReason} maxLength={2000} />
        </Confirm>
      )}
      {ask === 'promote' && (
        <Confirm open onClose={() => setAsk(null)} title={`Ask for version ${one.version} to come into production?`} act="Ask for it" run={promote}>
          <p>{production === null ? 'Nothing is in production now.' : `Version ${production} is in production now; it would be retired.`} Whoever decides sees metrics side by side, evals and lineage.</p>
          <TextArea label="Why" value={reason} onChange={setReason} maxLength={2000} />
        </Confirm>
      )}
    </span>
  )
}
