import { createRoute } from '@tanstack/react-router'
import { rootRoute } from './root'

export const openRoute = createRoute({ getParentRoute: () => rootRoute, path: '/open' }).lazy(() => import('./Open').then((page) => page.Route))
