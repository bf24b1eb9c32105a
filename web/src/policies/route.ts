import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

export const TABS = ['explorer', 'file', 'simulator', 'consequences'] as const
const TEXTS = ['action', 'role', 'project', 'branch', 'kind', 'environment', 'agent', 'tool', 'paths'] as const

export type PoliciesSearch = { tab?: (typeof TABS)[number] | undefined } & { [name in (typeof TEXTS)[number]]?: string | undefined }

export const policiesRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/policies',
  validateSearch: (search): PoliciesSearch => {
    const found: PoliciesSearch = { tab: TABS.find((each) => each === search.tab) }
    for (const name of TEXTS) {
      const value = search[name]
      if (typeof value === 'string' && value !== '' && value.length <= 500) found[name] = value
    }
    return found
  },
}).lazy(() => import('./Policies').then((page) => page.Route))
