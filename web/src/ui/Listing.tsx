import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import { METER_MS } from '../api/query'
import { CopyAs, type Call } from './CopyAs'
import { EmptyState } from './EmptyState'
import { ProblemNote } from './Note'
import { Table, type Column } from './Table'
import { Waiting } from './Waiting'

interface Paged<Row> {
  items: Row[]
  next_cursor?: string | null
}

interface Props<Row> {
  label: string
  /** Topic of the live stream first, then what it is filtered by. */
  queryKey: readonly unknown[]
  read: (cursor: string | null, signal: AbortSignal) => Promise<Paged<Row>>
  columns: readonly Column<Row>[]
  keyOf: (row: Row) => string
  empty: string
  command: string
  /** The call that reads this list, where the page does not offer it already. */
  call?: Call
  onOpen?: (row: Row) => void
  /** A row that changes, or a list that grows, without an event to tell of it: it is read again and again. */
  changing?: ((row: Row) => boolean) | boolean
  className?: string
}

/** A list of the server as a table that reads on when its end comes near. */
export function Listing<Row>({ label, queryKey, read, columns, keyOf, empty, command, call, onOpen, changing, className }: Props<Row>) {
  const list = useInfiniteQuery({
    // A list of pages is not the same thing as one reply: they may never be kept under one key.
    queryKey: [...queryKey, 'pages'],
    queryFn: ({ pageParam, signal }) => read(pageParam || null, signal),
    initialPageParam: '',
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    placeholderData: keepPreviousData,
    refetchInterval: (query) => (changing === true || (changing && query.state.data?.pages.some((page) => page.items.some(changing))) ? METER_MS : false),
  })
  const rows = useMemo(() => list.data?.pages.flatMap((page) => page.items) ?? [], [list.data])
  if (list.isPending) return <Waiting />
  if (list.isError) return <ProblemNote error={list.error} again={() => void list.refetch()} />
  const shown = rows.length === 0 ? <EmptyState title={empty} command={command} /> : (
    <Table
      label={label}
      rows={rows}
      columns={columns}
      keyOf={keyOf}
      more={list.hasNextPage}
      onEnd={() => {
        if (!list.isFetchingNextPage) void list.fetchNextPage()
      }}
      {...(onOpen ? { onOpen } : {})}
      {...(className ? { className } : {})}
    />
  )
  if (!call) return shown
  return (
    <div className="flex min-w-0 flex-col gap-2">
      {shown}
      <div className="flex justify-end"><CopyAs call={call} /></div>
    </div>
  )
}
