import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

export const APP_TABS = ['releases', 'logs', 'settings', 'lineage', 'readers'] as const

export interface AppSearch {
  tab?: (typeof APP_TABS)[number] | undefined
  /** The release whose logs are read; the newest where it is missing. */
  release?: string | undefined
  of?: 'build' | undefined
}

const word = (value: unknown, most: number): string | undefined => (typeof value === 'string' && value !== '' && value.length <= most ? value : undefined)

export const appsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/apps',
  validateSearch: (raw: Record<string, unknown>): { stopped?: true | undefined } => ({ stopped: raw.stopped === true ? true : undefined }),
}).lazy(() => import('./Apps').then((page) => page.Route))

export const appRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/apps/$id',
  validateSearch: (raw: Record<string, unknown>): AppSearch => ({ tab: APP_TABS.find((one) => one === raw.tab), release: word(raw.release, 100), of: raw.of === 'build' ? 'build' : undefined }),
}).lazy(() => import('./App').then((page) => page.Route))

/** Where an app's own address sends a browser that it does not know. */
export const openAppRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/apps/$id/open',
  validateSearch: (raw: Record<string, unknown>): { path?: string | undefined } => ({ path: word(raw.path, 500) }),
}).lazy(() => import('./OpenApp').then((page) => page.Route))
