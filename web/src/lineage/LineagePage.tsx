import { createLazyRoute, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { EmptyState } from '../ui/EmptyState'
import { TextField } from '../ui/Field'
import { Page } from '../ui/Page'
import { Lineage } from './Lineage'
import { DIRECTIONS, lineageRoute } from './route'

export const Route = createLazyRoute('/lineage')({ component: LineagePage })

/** The lineage of anything that has an id. */
function LineagePage() {
  const search = lineageRoute.useSearch()
  const go = useNavigate()
  const [typed, setTyped] = useState<string | null>(null)
  const id = search.id ?? ''
  return (
    <Page
      title="Lineage"
      below="From what a thing was made, and what was made from it."
      actions={<CopyAs call={{ cli: `builderos dataset lineage ${id || 'ID'}`, method: 'GET', path: `/v1/lineage/${id || 'ID'}`, mcp: { name: 'showLineage', arguments: { id, direction: search.direction ?? 'both' } } }} />}
    >
      <form role="search" className="flex flex-wrap items-end gap-3" onSubmit={(event) => { event.preventDefault(); void go({ to: '/lineage', search: { ...search, id: (typed ?? id).trim() || undefined } }) }}>
        <TextField label="Id of a dataset, run, artifact, version, endpoint or app; or a commit" value={typed ?? id} onChange={setTyped} className="min-w-72" />
        <Button type="submit" icon="search">Show</Button>
      </form>
      {id ? (
        <Lineage id={id} direction={search.direction} onDirection={(direction) => void go({ to: '/lineage', search: { ...search, direction: DIRECTIONS.find((one) => one === direction && one !== 'both') } })} />
      ) : (
        <EmptyState title="Name something." command="builderos dataset list" />
      )}
    </Page>
  )
}
