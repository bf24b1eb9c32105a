import { useQuery } from '@tanstack/react-query'
import { api, data } from '../api/client'
import { useMay, useMe } from '../api/may'
import { harmless } from '../ui/plain'

/** An actor by the name that people know; by its id where nobody may or can tell. */
export function Who({ id }: { id: string }) {
  const me = useMe()
  const may = useMay()
  const mine = id === me?.id
  const members = useQuery({
    queryKey: ['members', 'names'],
    queryFn: ({ signal }) => data(api.GET('/v1/members', { signal })),
    enabled: me !== undefined && !mine && may('member.list'),
  })
  const found = members.data?.items.find((one) => one.id === id)
  const name = mine ? me.name || me.email || me.label || me.role : found?.name || found?.email || found?.label
  return <bdi title={id}>{name ? harmless(name) : <code className="break-all">{harmless(id)}</code>}{mine && <span className="text-muted"> (you)</span>}</bdi>
}
