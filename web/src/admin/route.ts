import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

export const TABS = ['usage', 'models', 'speed', 'alerts', 'audit', 'access', 'keeping', 'members', 'credentials', 'secrets', 'sandboxes', 'budgets', 'webhooks', 'backups', 'server'] as const
export type AdminTab = (typeof TABS)[number]
const TEXTS = ['actor', 'type', 'object', 'branch', 'path', 'code', 'from', 'to', 'state', 'repo', 'id', 'by'] as const

export type AdminSearch = { tab?: AdminTab | undefined } & { [name in (typeof TEXTS)[number]]?: string | undefined }

export const adminRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/admin',
  validateSearch: (search): AdminSearch => {
    const found: AdminSearch = { tab: TABS.find((each) => each === search.tab) }
    for (const name of TEXTS) {
      const value = search[name]
      if (typeof value === 'string' && value !== '' && value.length <= 500) found[name] = value
    }
    return found
  },
}).lazy(() => import('./Admin').then((page) => page.Route))
