import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

type Raw = Record<string, unknown>
const word = (value: unknown, most = 200): string | undefined => {
  const text = typeof value === 'number' ? String(value) : value
  return typeof text === 'string' && text !== '' && text.length <= most ? text : undefined
}
const words = (value: unknown, most: number): readonly string[] | undefined => {
  const found = Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string' && one !== '' && one.length <= 300).slice(0, most) : []
  return found.length > 0 ? found : undefined
}
const oneOf = <T extends string>(all: readonly T[], value: unknown): T | undefined => all.find((each) => each === value)
/** Of the search of an address, what is given: an empty member does not stand there. */
export const given = <T extends object>(values: T): T => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T

export const STATES = ['active', 'deleted', 'all'] as const
export type State = (typeof STATES)[number]
export const RUN_TABS = ['trials', 'charts', 'params', 'files', 'lineage', 'readers'] as const
export const COMPARE_TABS = ['charts', 'params', 'metrics', 'files'] as const
export const MOST_RUNS = 100

export interface ExperimentsSearch {
  q?: string | undefined
  state?: State | undefined
}

/** The table of an experiment: which runs, in which order, with which columns (`metrics.acc`, `params.lr`, `tags.team`). */
export interface RunsSearch {
  filter?: string | undefined
  order?: string | undefined
  cols?: readonly string[] | undefined
  state?: State | undefined
}

/** How curves are drawn. */
export interface CurvesSearch {
  /** Metrics that are drawn; the first few where it is missing. */
  metrics?: readonly string[] | undefined
  axis?: 'time' | undefined
  log?: true | undefined
  /** 0 to 0.99. */
  smooth?: number | undefined
}

export interface CompareSearch extends CurvesSearch {
  runs?: readonly string[] | undefined
  tab?: (typeof COMPARE_TABS)[number] | undefined
  /** All rows, not those alone that differ. */
  all?: true | undefined
}

export interface RunSearch extends CurvesSearch {
  tab?: (typeof RUN_TABS)[number] | undefined
  file?: string | undefined
}

const curves = (raw: Raw): CurvesSearch => ({
  metrics: words(raw.metrics, 200),
  axis: oneOf(['time'] as const, raw.axis),
  log: raw.log === true ? true : undefined,
  smooth: typeof raw.smooth === 'number' && raw.smooth > 0 && raw.smooth < 1 ? Math.min(0.99, raw.smooth) : undefined,
})

export const experimentsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/experiments',
  validateSearch: (raw: Raw): ExperimentsSearch => given({ q: word(raw.q), state: oneOf(STATES, raw.state) }),
}).lazy(() => import('./Experiments').then((page) => page.Route))

export const experimentRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/experiments/$id',
  validateSearch: (raw: Raw): RunsSearch => given({ filter: word(raw.filter, 20_000), order: word(raw.order, 300), cols: words(raw.cols, 60), state: oneOf(STATES, raw.state) }),
}).lazy(() => import('./Experiment').then((page) => page.Route))

export const sideBySideRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/experiments/$id/compare',
  validateSearch: (raw: Raw): CompareSearch => given({ ...curves(raw), runs: words(raw.runs, MOST_RUNS), tab: oneOf(COMPARE_TABS, raw.tab), all: raw.all === true ? (true as const) : undefined }),
}).lazy(() => import('./Compare').then((page) => page.Route))

export const experimentRunRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/experiment-runs/$id',
  validateSearch: (raw: Raw): RunSearch => given({ ...curves(raw), tab: oneOf(RUN_TABS, raw.tab), file: word(raw.file, 4096) }),
}).lazy(() => import('./ExperimentRun').then((page) => page.Route))
