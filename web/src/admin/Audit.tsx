import { useState } from 'react'
import { useQuery } from '@tanstack/react-query'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Button, buttonClass } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Dialog } from '../ui/Dialog'
import { Code, Facts, json } from '../ui/Facts'
import { Icon } from '../ui/Icon'
import { Listing } from '../ui/Listing'
import { Note, ProblemNote } from '../ui/Note'
import { harmless } from '../ui/plain'
import { Time } from '../ui/Time'
import { addressed, Filters, instant } from './parts'
import { adminRoute } from './route'

type Line = Schemas['Event']

/** The record of acts: search it, look at a line, take it along, verify it. */
export function Audit() {
  const search = adminRoute.useSearch()
  const may = useMay()
  const [shown, setShown] = useState<Line | null>(null)
  const query = {
    type: search.type ?? null, actor: search.actor ?? null, object: search.object ?? null, branch: search.branch ?? null, path: search.path ?? null,
    code: search.code ?? null, from: instant(search.from), to: instant(search.to),
  }
  const asked = addressed(query)
  return (
    <div className="flex flex-col gap-4">
      <Filters fields={[['type', 'What'], ['actor', 'Who'], ['object', 'On what'], ['branch', 'Branch'], ['path', 'File'], ['from', 'From', 'date'], ['to', 'Until', 'date']]} />
      <div className="flex flex-wrap gap-2">
        <CopyAs call={{ cli: 'builderos audit list', method: 'GET', path: `/v1/audit${asked}`, mcp: { name: 'searchAudit', arguments: query } }} />
        {may('audit.export') && (
          <>
            <a href="/v1/audit/export" download className={buttonClass('plain', true)}>
              <Icon name="download" /> The whole record (JSONL)
            </a>
            <a href="/v1/audit/export?format=csv" download className={buttonClass('plain', true)}>
              <Icon name="download" /> The whole record (CSV)
            </a>
          </>
        )}
        {may('audit.verify') && <Verify />}
      </div>
      <Listing
        label="Acts"
        queryKey={['audit', query]}
        read={(cursor, signal) => data(api.GET('/v1/audit', { params: { query: { ...query, limit: 100, cursor } }, signal }))}
        keyOf={(line) => String(line.seq)}
        onOpen={setShown}
        empty="No act fits."
        command="builderos audit list"
        columns={[
          { id: 'at', title: 'When', width: '9rem', cell: (line) => <Time at={line.at} /> },
          { id: 'type', title: 'What', width: '14rem', cell: (line) => <button type="button" className="text-accent underline" onClick={() => setShown(line)}>{line.type}</button> },
          { id: 'who', title: 'Who', width: '14rem', cell: (line) => harmless(line.actor_name) },
          { id: 'role', title: 'As', width: '7rem', cell: (line) => line.role },
          { id: 'object', title: 'On what', width: 'minmax(14rem, 1fr)', cell: (line) => <code>{harmless(line.object)}</code> },
          { id: 'door', title: 'Through', width: '6rem', cell: (line) => line.door },
          { id: 'seq', title: 'Line', width: '6rem', align: 'right', cell: (line) => line.seq },
        ]}
      />
      {shown && (
        <Dialog open wide onClose={() => setShown(null)} title={`Line ${shown.seq}: ${shown.type}`} actions={<Button onClick={() => setShown(null)}>Close</Button>}>
          <Facts
            label="The act"
            of={[
              ['When', <Time key="at" at={shown.at} />], ['Who', `${shown.actor_name} (${shown.role})`], ['On what', shown.object], ['Through', shown.door],
              ['Rules', shown.rules.join(', ')], ['Request', shown.request_id], ['Hash', <code key="hash" className="break-all">{shown.hash}</code>],
              ...shown.words.map((words, n) => [`Words ${n + 1}`, words.text] as const),
            ]}
          />
          <Code label="Details" text={json(shown.payload)} />
          <div>
            <CopyAs call={{ cli: `builderos audit proof ${shown.seq}`, method: 'GET', path: `/v1/audit/proof?seq=${shown.seq}&with_line=true`, mcp: { name: 'proveLine', arguments: { seq: shown.seq, with_line: true } } }} />
          </div>
        </Dialog>
      )}
    </div>
  )
}

function Verify() {
  const found = useQuery({ queryKey: ['verified'], queryFn: ({ signal }) => data(api.GET('/v1/audit/verify', { signal })), enabled: false })
  return (
    <>
      <Button small icon="approvals" busy={found.isFetching} onClick={() => void found.refetch()}>
        Verify the record
      </Button>
      {found.isError && <ProblemNote error={found.error} />}
      {found.data && (
        <Note tone={found.data.ok ? 'good' : 'bad'} role="status">
          {found.data.ok ? `All ${found.data.lines.toLocaleString('en')} lines are as they were written.` : `Line ${found.data.first_bad ?? '?'} was changed: ${found.data.reason}`}
        </Note>
      )}
    </>
  )
}
