import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

const word = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' && value.length <= 200 ? value : undefined)

export interface AgentsSearch {
  repo?: string | undefined
  /** The branch whose agents count beside those that come along. */
  branch?: string | undefined
}

export const agentsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/agents',
  validateSearch: (search): AgentsSearch => ({ repo: word(search.repo), branch: word(search.branch) }),
}).lazy(() => import('./Agents').then((page) => page.Route))

export const AGENT_TABS = ['role', 'policy', 'memory', 'console'] as const

export interface AgentSearch extends AgentsSearch {
  tab?: (typeof AGENT_TABS)[number] | undefined
  /** Of the console: the step that is looked at. */
  step?: string | undefined
  /** Of the console: its run. */
  run?: string | undefined
  q?: string | undefined
}

export const agentRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/agents/$name',
  validateSearch: (search): AgentSearch => ({
    repo: word(search.repo),
    branch: word(search.branch),
    tab: AGENT_TABS.find((each) => each === search.tab),
    step: word(search.step),
    run: word(search.run),
    q: word(search.q),
  }),
}).lazy(() => import('./Agent').then((page) => page.Route))
