import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
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
  onOpen?: (row: Row) => void
  className?: string
}

/** A list of the server as a table that reads on when its end comes near. */
export function Listing<Row>({ label, queryKey, read, columns, keyOf, empty, command, onOpen, className }: Props<Row>) {
  const list = useInfiniteQuery({
    queryKey,
    queryFn: ({ pageParam, signal }) => read(pageParam || null, signal),
    initialPageParam: '',
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    placeholderData: keepPreviousData,
  })
  const rows = useMemo(() => list.data?.pages.flatMap((page) => page.items) ?? [], [list.data])
  if (list.isPending) return <Waiting />
  if (list.isError) return <ProblemNote error={list.error} again={() => void list.refetch()} />
  if (rows.length === 0) return <EmptyState title={empty} command={command} />
  return (
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
}
