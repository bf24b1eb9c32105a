import { createRouter } from '@tanstack/react-router'
import { adminRoute } from './admin/route'
import { agentRoute, agentsRoute } from './agents/route'
import { appRoute, appsRoute, openAppRoute } from './apps/route'
import { approvalsRoute } from './approvals/route'
import { datasetRoute, datasetsRoute } from './datasets/route'
import { deploymentRoute, deploymentsRoute } from './deployments/route'
import { endpointRoute, endpointsRoute } from './endpoints/route'
import { evalsRoute } from './evals/route'
import { sideBySideRoute, experimentRoute, experimentRunRoute, experimentsRoute } from './experiments/route'
import { homeRoute } from './home/route'
import { lineageRoute } from './lineage/route'
import { modelRoute, modelsRoute, promotionRoute } from './models/route'
import { policiesRoute } from './policies/route'
import { promptRoute, promptsRoute } from './prompts/route'
import { compareRoute, runRoute, runsRoute } from './runs/route'
import { projectsRoute } from './projects/route'
import { sessionRoute, sessionsRoute } from './sessions/route'
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
  compareRoute,
  runRoute,
  agentsRoute,
  agentRoute,
  promptsRoute,
  promptRoute,
  evalsRoute,
  policiesRoute,
  deploymentsRoute,
  deploymentRoute,
  experimentsRoute,
  experimentRoute,
  sideBySideRoute,
  experimentRunRoute,
  modelsRoute,
  modelRoute,
  promotionRoute,
  appsRoute,
  appRoute,
  openAppRoute,
  datasetsRoute,
  datasetRoute,
  endpointsRoute,
  endpointRoute,
  sessionsRoute,
  sessionRoute,
  lineageRoute,
  adminRoute,
])

export const router = createRouter({ routeTree: tree, defaultPreload: 'intent', defaultPreloadStaleTime: 0, scrollRestoration: true, defaultErrorComponent: Oops })

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}
