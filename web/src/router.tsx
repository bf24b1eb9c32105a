import { createRouter } from '@tanstack/react-router'
import { adminRoute } from './admin/route'
import { agentRoute, agentsRoute } from './agents/route'
import { approvalsRoute } from './approvals/route'
import { deploymentRoute, deploymentsRoute } from './deployments/route'
import { evalsRoute } from './evals/route'
import { homeRoute } from './home/route'
import { policiesRoute } from './policies/route'
import { promptRoute, promptsRoute } from './prompts/route'
import { runRoute, runsRoute } from './runs/route'
import { projectsRoute } from './projects/route'
import { Oops } from './shell/Failures'
import { rootRoute } from './shell/root'
import { openRoute } from './shell/route'
import { workspaceRoute } from './simple/route'
import { whyRoute } from './why/route'

// One line per room. A route that has no page yet does not stand here.
const tree = rootRoute.addChildren([
  homeRoute,
  openRoute,
  workspaceRoute,
  projectsRoute,
  whyRoute,
  approvalsRoute,
  runsRoute,
  runRoute,
  agentsRoute,
  agentRoute,
  promptsRoute,
  promptRoute,
  evalsRoute,
  policiesRoute,
  deploymentsRoute,
  deploymentRoute,
  adminRoute,
])

export const router = createRouter({ routeTree: tree, defaultPreload: 'intent', defaultPreloadStaleTime: 0, scrollRestoration: true, defaultErrorComponent: Oops })

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}
