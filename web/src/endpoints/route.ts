import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

const oneOf = <T extends string>(all: readonly T[], value: unknown): T | undefined => all.find((each) => each === value)

export const ENVS = ['dev', 'stage', 'prod'] as const
export const ENV_WORDS = { dev: 'Development', stage: 'Stage', prod: 'Production' } as const
export const ENDPOINT_TABS = ['traffic', 'metrics', 'try', 'logs', 'payloads', 'lineage', 'readers'] as const

export interface EndpointsSearch {
  env?: (typeof ENVS)[number] | undefined
  stopped?: true | undefined
}

export interface EndpointSearch {
  tab?: (typeof ENDPOINT_TABS)[number] | undefined
  minutes?: number | undefined
  /** Whose log is shown. */
  deployment?: string | undefined
}

export const endpointsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/endpoints',
  validateSearch: (raw: Record<string, unknown>): EndpointsSearch => ({ env: oneOf(ENVS, raw.env), stopped: raw.stopped === true ? true : undefined }),
}).lazy(() => import('./Endpoints').then((page) => page.Route))

export const endpointRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/endpoints/$id',
  validateSearch: (raw: Record<string, unknown>): EndpointSearch => ({ tab: oneOf(ENDPOINT_TABS, raw.tab), deployment: typeof raw.deployment === 'string' ? raw.deployment.slice(0, 200) : undefined, minutes: Number.isSafeInteger(raw.minutes) && Number(raw.minutes) >= 1 && Number(raw.minutes) <= 10_080 ? Number(raw.minutes) : undefined }),
}).lazy(() => import('./Endpoint').then((page) => page.Route))
