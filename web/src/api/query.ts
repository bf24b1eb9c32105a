import { QueryClient } from '@tanstack/react-query'
import { asProblem } from './problem'

/** How often a meter is read that no event tells of: a metric that is being logged, memory in use. Nobody reads it for a page that nobody sees. */
export const METER_MS = 2000

/** What was read of the server. Live events say when something is old (live.ts), so nothing is asked for again by the clock. */
export const cache = new QueryClient({
  defaultOptions: {
    queries: {
      networkMode: 'always',
      staleTime: 30_000,
      refetchOnWindowFocus: false,
      // A server that is being restarted is asked until it answers; a refusal is final.
      retry: (count, error) => asProblem(error).passing && count < 100,
      retryDelay: (count) => Math.min(250 * 2 ** count, 5000),
    },
    mutations: { networkMode: 'always', retry: false },
  },
})
