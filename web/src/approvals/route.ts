import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

export const approvalsRoute = createRoute({ getParentRoute: () => rootRoute, path: '/approvals' }).lazy(() => import('./Approvals').then((page) => page.Route))
