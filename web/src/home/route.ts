import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

export const homeRoute = createRoute({ getParentRoute: () => rootRoute, path: '/' }).lazy(() => import('./Home').then((page) => page.Route))
