import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data } from '../api/client'
import { asProblem } from '../api/problem'
import { CopyAs } from '../ui/CopyAs'
import { EmptyState } from '../ui/EmptyState'
import { Select } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'
import { harmless, shownLine } from '../ui/plain'
import { Table } from '../ui/Table'
import { Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { Drawing } from './Drawing'
import type { Graph, Node } from './layers'
import { kindWord, pageOf, stepsWord } from './places'
import { DIRECTIONS } from './route'

type Direction = (typeof DIRECTIONS)[number]
const DIRECTION_WORDS: Record<Direction, string> = { both: 'Both ways', up: 'What it was made from', down: 'What was made from it' }
const RELATIONS: Record<string, string> = { input_of: 'went into', made: 'made', registered_as: 'was registered as', served_by: 'is served by', used_by: 'is used by' }

interface Props {
  id: string
  /** Where the direction is kept in the address. */
  direction?: Direction | undefined
  onDirection?: (direction: Direction) => void
}

/** From what a thing was made, and what was made from it: drawn, and as a table. */
export function Lineage({ id, direction, onDirection }: Props) {
  const [own, setOwn] = useState<Direction>('both')
  const way = onDirection ? (direction ?? 'both') : own
  const found = useQuery({
    queryKey: ['lineage', id, way],
    queryFn: ({ signal }) => data(api.GET('/v1/lineage/{id}', { params: { path: { id }, query: { direction: way } }, signal })),
  })
  return (
    <div className="flex flex-col gap-4">
      <div className="flex flex-wrap items-end justify-between gap-3">
        <Select label="Which way" value={way} onChange={(value) => (onDirection ?? setOwn)(DIRECTIONS.find((one) => one === value) ?? 'both')} options={DIRECTIONS.map((one) => [one, DIRECTION_WORDS[one]] as const)} />
        {!onDirection && <CopyAs call={{ cli: `builderos dataset lineage ${id}`, method: 'GET', path: `/v1/lineage/${id}`, mcp: { name: 'showLineage', arguments: { id, direction: way } } }} />}
      </div>
      {found.isPending ? <Waiting /> : found.isError ? (
        asProblem(found.error).code === 'not_found' ? <EmptyState title="Nothing was made from it yet, and nothing tells from what it was made." command={`builderos dataset lineage ${id}`} /> : <ProblemNote error={found.error} again={() => void found.refetch()} />
      ) : <Known graph={found.data} />}
    </div>
  )
}

function Known({ graph }: { graph: Graph }) {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]))
  const edges = graph.edges.map((edge, n) => ({ ...edge, key: `${n}` }))
  return (
    <>
      {graph.truncated && <Note tone="warn">There is more than is shown.</Note>}
      <Drawing key={graph.id} graph={graph} />
      {edges.length > 0 && (
        <Table
          label="Lineage, edge by edge"
          rows={edges}
          keyOf={(edge) => edge.key}
          className="max-h-96"
          columns={[
            { id: 'source', title: 'What', width: 'minmax(12rem, 2fr)', cell: (edge) => <Named node={nodes.get(edge.source)} id={edge.source} /> },
            { id: 'relation', title: 'How', width: '10rem', cell: (edge) => RELATIONS[edge.relation] ?? edge.relation },
            { id: 'target', title: 'To what', width: 'minmax(12rem, 2fr)', cell: (edge) => <Named node={nodes.get(edge.target)} id={edge.target} /> },
            { id: 'away', title: 'Where', width: '9rem', cell: (edge) => stepsWord(nodes.get(edge.source)?.depth ?? 0) },
            { id: 'at', title: 'When', width: '9rem', cell: (edge) => <Time at={edge.created_at} /> },
          ]}
        />
      )}
    </>
  )
}

function Named({ node, id }: { node: Node | undefined; id: string }) {
  if (!node) return harmless(id)
  const page = pageOf(node)
  const said = <bdi>{shownLine(node.name || id, 100)}</bdi>
  return (
    <>
      <span className="text-muted">{kindWord(node.kind)} </span>
      {page ? <Link {...page} className="text-accent underline">{said}</Link> : said}
    </>
  )
}
