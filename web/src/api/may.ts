import { useQuery } from '@tanstack/react-query'
import { api, data } from './client'
import { useSession } from './session'

/**
 * Which acts the caller may do to an object, so that a page shows no control that would be refused. Without an object:
 * to the organisation. Until it is known nothing is allowed; the server decides anew about every call anyway.
 */
export function useMay(object?: string): (action: string) => boolean {
  const session = useSession()
  const known = useQuery({
    queryKey: ['permissions', object ?? ''],
    queryFn: ({ signal }) => data(api.GET('/v1/me/permissions', { params: { query: object === undefined ? {} : { object } }, signal })),
    enabled: session.state === 'in',
    staleTime: 60_000,
  })
  return (action) => known.data?.items.some((one) => one.action === action && one.verdict !== 'deny') ?? false
}

/** Who the caller is. */
export function useMe() {
  const session = useSession()
  return useQuery({
    queryKey: ['me'],
    queryFn: ({ signal }) => data(api.GET('/v1/me', { signal })),
    enabled: session.state === 'in',
    staleTime: Infinity,
  }).data
}
