import { createRouter } from '@tanstack/react-router'
import { approvalsRoute } from './approvals/route'
import { homeRoute } from './home/route'
import { rootRoute } from './shell/root'
import { openRoute } from './shell/route'

// One line per room. A route that has no page yet does not stand here.
const tree = rootRoute.addChildren([
  homeRoute,
  openRoute,
  approvalsRoute,
])

export const router = createRouter({ routeTree: tree, defaultPreload: 'intent', defaultPreloadStaleTime: 0, scrollRestoration: true })

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}
