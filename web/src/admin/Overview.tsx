import { useQuery } from '@tanstack/react-query'
import { api, data, type Schemas } from '../api/client'
import { Chart } from '../ui/Chart'
import { CopyAs } from '../ui/CopyAs'
import { ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Table } from '../ui/Table'
import { duration, Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { number } from './parts'

type Org = Schemas['OrgOverview']
type Tool = Schemas['ToolOverview']

/** The whole server in numbers, for its owner: organisations, tools with their latency, errors. */
export function Overview() {
  const found = useQuery({ queryKey: ['overview'], queryFn: ({ signal }) => data(api.GET('/v1/admin/overview', { params: { query: { days: 30 } }, signal })) })
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} again={() => void found.refetch()} />
  const { orgs, tools, errors } = found.data
  return (
    <div className="flex flex-col gap-5">
      <Section title="Organisations" actions={<CopyAs call={{ cli: 'builderos admin overview', method: 'GET', path: '/v1/admin/overview?days=30', mcp: { name: 'getOverview', arguments: { days: 30 } } }} />}>
        <Table
          label="All organisations"
          rows={orgs}
          keyOf={(org) => org.org_id}
          className="max-h-80"
          columns={[
            { id: 'name', title: 'Name', width: 'minmax(12rem, 1fr)', cell: (org: Org) => harmless(org.name) },
            { id: 'slug', title: 'Slug', width: 'minmax(8rem, 1fr)', cell: (org: Org) => harmless(org.slug) },
            { id: 'members', title: 'Members', width: '6rem', align: 'right', cell: (org: Org) => number(org.members) },
            { id: 'repos', title: 'Repositories', width: '7rem', align: 'right', cell: (org: Org) => number(org.repositories) },
            { id: 'requests', title: 'Requests', width: '8rem', align: 'right', cell: (org: Org) => number(org.requests) },
            { id: 'commits', title: 'Commits', width: '7rem', align: 'right', cell: (org: Org) => number(org.commits) },
            { id: 'failed', title: 'Failed', width: '6rem', align: 'right', cell: (org: Org) => number(org.failed) },
            { id: 'since', title: 'Since', width: '9rem', cell: (org: Org) => <Time at={org.created_at} /> },
          ]}
        />
      </Section>
      {tools.length > 0 && (
        <Section title="Tools in the last 30 days">
          <Chart kind="bar" label="Mean latency of the tools called most" format={duration} at={tools.slice(0, 30).map((tool) => tool.tool)} series={[{ name: 'Mean', values: tools.slice(0, 30).map((tool) => tool.mean_ms) }]} />
          <Table
            label="Tools"
            rows={tools}
            keyOf={(tool) => tool.tool}
            className="max-h-80"
            columns={[
              { id: 'tool', title: 'Tool', width: 'minmax(12rem, 1fr)', cell: (tool: Tool) => harmless(tool.tool) },
              { id: 'calls', title: 'Calls', width: '7rem', align: 'right', cell: (tool: Tool) => number(tool.calls) },
              { id: 'failed', title: 'Failed', width: '7rem', align: 'right', cell: (tool: Tool) => number(tool.failed) },
              { id: 'ms', title: 'Mean', width: '7rem', align: 'right', cell: (tool: Tool) => `${tool.mean_ms.toFixed(1)} ms` },
            ]}
          />
        </Section>
      )}
      {errors.length > 0 && (
        <Section title="Errors in the last 30 days">
          <Chart kind="bar" label="Errors by code" at={errors.map((one) => one.code)} series={[{ name: 'Calls', values: errors.map((one) => one.calls) }]} />
          <Table
            label="Errors"
            rows={errors}
            keyOf={(one) => one.code}
            className="max-h-60"
            columns={[
              { id: 'code', title: 'Code', width: 'minmax(12rem, 1fr)', cell: (one) => <code>{one.code}</code> },
              { id: 'calls', title: 'Calls', width: '7rem', align: 'right', cell: (one) => number(one.calls) },
            ]}
          />
        </Section>
      )}
    </div>
  )
}
