import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

const word = (value: unknown, most: number): string | undefined => (typeof value === 'string' && value !== '' && value.length <= most ? value : undefined)

export const DATASET_TABS = ['files', 'columns', 'lineage', 'readers'] as const

export interface DatasetSearch {
  tab?: (typeof DATASET_TABS)[number] | undefined
  /** The file that is looked at. */
  file?: string | undefined
}

export const datasetsRoute = createRoute({ getParentRoute: () => rootRoute, path: '/datasets' }).lazy(() => import('./Datasets').then((page) => page.Route))

export const datasetRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/datasets/$id',
  validateSearch: (raw: Record<string, unknown>): DatasetSearch => ({ tab: DATASET_TABS.find((one) => one === raw.tab), file: word(raw.file, 4096) }),
}).lazy(() => import('./Dataset').then((page) => page.Route))
