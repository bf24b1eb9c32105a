import { createLazyRoute, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { Page } from '../ui/Page'
import { Tabs } from '../ui/Tabs'
import { Consequences } from './Consequences'
import { Explorer } from './Explorer'
import { File } from './File'
import { policiesRoute, TABS } from './route'
import { Simulator } from './Simulator'

export const Route = createLazyRoute('/policies')({ component: Policies })

const WORDS = { explorer: 'Who may do what', file: 'The policy file', simulator: 'Simulator', consequences: 'Consequences' } as const

function Policies() {
  const search = policiesRoute.useSearch()
  const go = useNavigate()
  const tab = search.tab ?? 'explorer'
  // What is being written goes along from tab to tab; null: the file in force.
  const [draft, setDraft] = useState<string | null>(null)
  return (
    <Page title="Policies" tab={`${WORDS[tab]} · Policies`} below="Which rules decide, and what another file would change.">
      <Tabs label="Policies" tabs={TABS.map((id) => ({ id, label: WORDS[id] }))} value={tab} onChange={(id) => void go({ to: '/policies', search: { tab: TABS.find((each) => each === id) } })}>
        {tab === 'explorer' && <Explorer />}
        {tab === 'file' && <File draft={draft} onDraft={setDraft} />}
        {tab === 'simulator' && <Simulator draft={draft} />}
        {tab === 'consequences' && <Consequences draft={draft} onDraft={setDraft} />}
      </Tabs>
    </Page>
  )
}
