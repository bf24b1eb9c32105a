import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

export const PARTS = ['workspaces', 'branches', 'commits', 'promotions', 'tasks', 'backups', 'memory'] as const
export type Part = (typeof PARTS)[number]

/** `repo`: the one that is shown; `part` of it; `branch`: the one whose commits, tasks, backups and memory are. */
export interface ProjectsSearch {
  repo?: string
  part?: Part
  branch?: string
}

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value.slice(0, 200) : undefined)

function shown(search: Record<string, unknown>): ProjectsSearch {
  const found = { repo: text(search.repo), part: PARTS.find((one) => one === search.part), branch: text(search.branch) }
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined)) as ProjectsSearch
}

export const projectsRoute = createRoute({ getParentRoute: () => rootRoute, path: '/projects', validateSearch: shown }).lazy(() => import('./Projects').then((page) => page.Route))
