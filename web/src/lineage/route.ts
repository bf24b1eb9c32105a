import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

export const DIRECTIONS = ['both', 'up', 'down'] as const
export interface LineageSearch {
  id?: string | undefined
  direction?: (typeof DIRECTIONS)[number] | undefined
}

export const lineageRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/lineage',
  validateSearch: (raw: Record<string, unknown>): LineageSearch => ({
    id: typeof raw.id === 'string' && raw.id !== '' && raw.id.length <= 200 ? raw.id : undefined,
    direction: DIRECTIONS.find((one) => one === raw.direction && one !== 'both'),
  }),
}).lazy(() => import('./LineagePage').then((page) => page.Route))
