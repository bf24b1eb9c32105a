import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

export const STATES = ['pending', 'approved', 'denied', 'expired', 'cancelled'] as const

export interface ApprovalsSearch {
  /** The one that is looked at. */
  id?: string | undefined
  /** Which ones are listed; those that wait where it is missing. */
  state?: (typeof STATES)[number] | undefined
}

export const approvalsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/approvals',
  validateSearch: (search): ApprovalsSearch => ({
    id: typeof search.id === 'string' ? search.id : undefined,
    state: STATES.find((each) => each === search.state),
  }),
}).lazy(() => import('./Approvals').then((page) => page.Route))
