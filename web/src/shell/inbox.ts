import { queryOptions } from '@tanstack/react-query'
import { api, data } from '../api/client'

/** What waits for the caller: one reading for Home, the bell and the count beside Approvals. */
export const inboxQuery = queryOptions({
  queryKey: ['inbox', { limit: 100 }],
  queryFn: ({ signal }) => data(api.GET('/v1/inbox', { params: { query: { limit: 100 } }, signal })),
})
