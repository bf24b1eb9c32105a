import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

export const STATUSES = ['queued', 'running', 'waiting_approval', 'waiting_input', 'paused', 'succeeded', 'failed', 'denied', 'cancelled', 'timed_out'] as const
export type RunStatus = (typeof STATUSES)[number]
export const TABS = ['diff', 'logs', 'artifacts', 'provenance', 'policy', 'evals', 'agent'] as const
export type RunTab = (typeof TABS)[number]

/** Filters of the list. */
export interface RunsSearch {
  status?: RunStatus
  /** Only what is not over. */
  open?: true
  pipeline?: string
  repo?: string
  branch?: string
}

/** What is chosen on a run's page: one step drives all tabs. */
export interface RunSearch {
  tab?: RunTab
  step?: string
  /** A place in the difference. */
  file?: string
  side?: 'old'
  /** A line of the file, or of the log. */
  line?: number
  /** What is looked for in the log. */
  find?: string
}

type Raw = Record<string, unknown>
const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' && value.length <= 2000 ? value : typeof value === 'number' ? String(value) : undefined)
const oneOf = <T extends string>(all: readonly T[], value: unknown): T | undefined => all.find((each) => each === value)
const given = <T extends object>(values: T): T => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T

export const runsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/runs',
  validateSearch: (raw: Raw): RunsSearch => given({ status: oneOf(STATUSES, raw.status), open: raw.open === true ? true : undefined, pipeline: text(raw.pipeline), repo: text(raw.repo), branch: text(raw.branch) }),
}).lazy(() => import('./Runs').then((page) => page.Route))

/** Two runs beside each other, and the file of which both differences are shown. */
export interface CompareSearch {
  a?: string
  b?: string
  file?: string
}

export const compareRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/runs/compare',
  validateSearch: (raw: Raw): CompareSearch => given({ a: text(raw.a), b: text(raw.b), file: text(raw.file) }),
}).lazy(() => import('./Compare').then((page) => page.Route))

export const runRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/runs/$id',
  validateSearch: (raw: Raw): RunSearch =>
    given({ tab: oneOf(TABS, raw.tab), step: text(raw.step), file: text(raw.file), find: text(raw.find)?.slice(0, 200), side: oneOf(['old'] as const, raw.side), line: Number.isSafeInteger(raw.line) && Number(raw.line) > 0 ? Number(raw.line) : undefined }),
}).lazy(() => import('./Run').then((page) => page.Route))
