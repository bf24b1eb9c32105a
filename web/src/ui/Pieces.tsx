import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Button } from './Button'
import { Code } from './Facts'
import { Note, ProblemNote } from './Note'
import { Section } from './Page'
import { Waiting } from './Waiting'

export interface Piece {
  text: string
  next_offset: number
  size: number
}

const BYTES = 60_000
const ASK_AGAIN_MS = 2000

interface Props {
  title: string
  /** As a query's key. */
  queryKey: readonly unknown[]
  /** The text from a byte on. */
  read: (offset: number, limit: number, signal: AbortSignal) => Promise<Piece>
  /** Whether there may come more. */
  grows: boolean
  empty: string
}

/** What a server printed, piece by piece; the last piece is read again while more may come. */
export function Pieces({ title, queryKey, read, grows, empty }: Props) {
  const [offset, setOffset] = useState<number | null>(null)
  const found = useQuery({
    queryKey: [...queryKey, 'log', offset],
    queryFn: ({ signal }) => (offset === null ? end(read, signal) : read(offset, BYTES, signal)),
    placeholderData: keepPreviousData,
    refetchInterval: grows && offset === null ? ASK_AGAIN_MS : false,
  })
  const begin = found.data ? found.data.next_offset - new TextEncoder().encode(found.data.text).length : 0
  return (
    <Section
      title={title}
      actions={
        <span className="flex gap-2">
          <Button small disabled={!found.data || begin <= 0} onClick={() => setOffset(Math.max(0, begin - BYTES))}>Before</Button>
          <Button small disabled={!found.data || found.data.next_offset >= found.data.size} onClick={() => setOffset(found.data?.next_offset ?? 0)}>After</Button>
          <Button small disabled={offset === null} onClick={() => setOffset(null)}>To the end</Button>
          <Button small onClick={() => void found.refetch()}>Read again</Button>
        </span>
      }
    >
      {found.isPending ? <Waiting /> : found.isError ? <ProblemNote error={found.error} again={() => void found.refetch()} /> : found.data.text ? <Code label={`${title}, as text`} text={found.data.text} /> : <Note>{empty}</Note>}
    </Section>
  )
}

/** The last piece: a first look says how long the whole is. */
async function end(read: Props['read'], signal: AbortSignal): Promise<Piece> {
  const first = await read(0, BYTES, signal)
  return first.size <= first.next_offset ? first : read(Math.max(0, first.size - BYTES), BYTES, signal)
}
