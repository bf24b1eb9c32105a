import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

const word = (value: unknown, most = 250): string | undefined => {
  const text = typeof value === 'number' ? String(value) : value
  return typeof text === 'string' && text !== '' && text.length <= most ? text : undefined
}
const number = (value: unknown): number | undefined => (typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : undefined)
const oneOf = <T extends string>(all: readonly T[], value: unknown): T | undefined => all.find((each) => each === value)

export const MODELS_TABS = ['models', 'promotions'] as const
export const MODEL_TABS = ['files', 'scoring', 'lineage', 'readers'] as const

export interface ModelsSearch {
  tab?: (typeof MODELS_TABS)[number] | undefined
  like?: string | undefined
}

export interface ModelSearch {
  /** The version that is looked at; the newest where it is missing. */
  version?: number | undefined
  tab?: (typeof MODEL_TABS)[number] | undefined
  /** The artifact of a file that is looked at. */
  file?: string | undefined
}

export const modelsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/models',
  validateSearch: (raw: Record<string, unknown>): ModelsSearch => ({ tab: oneOf(MODELS_TABS, raw.tab), like: word(raw.like) }),
}).lazy(() => import('./Models').then((page) => page.Route))

export const modelRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/models/$name',
  validateSearch: (raw: Record<string, unknown>): ModelSearch => ({ version: number(raw.version), tab: oneOf(MODEL_TABS, raw.tab), file: word(raw.file) }),
}).lazy(() => import('./Model').then((page) => page.Route))

export const promotionRoute = createRoute({ getParentRoute: () => rootRoute, path: '/promotions/$id' }).lazy(() => import('./Promotion').then((page) => page.Route))
