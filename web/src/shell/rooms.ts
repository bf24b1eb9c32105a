import type { Session } from '../api/session'
import type { IconName } from '../ui/Icon'

/** An entry of the sidebar: one line per room that has a page. `key` is what follows `g`. */
export interface Room {
  to: string
  label: string
  icon: IconName
  key: string
  group: '' | 'Workbench' | 'Admin'
}

export const ROOMS: readonly Room[] = [
  { to: '/', label: 'Home', icon: 'home', key: 'h', group: '' },
  { to: '/projects', label: 'Projects', icon: 'projects', key: 'o', group: '' },
  { to: '/runs', label: 'Runs', icon: 'runs', key: 'r', group: '' },
  { to: '/approvals', label: 'Approvals', icon: 'approvals', key: 'a', group: '' },
  { to: '/agents', label: 'Agents', icon: 'agents', key: 'e', group: '' },
  { to: '/prompts', label: 'Prompts', icon: 'prompts', key: 'p', group: '' },
  { to: '/evals', label: 'Evals', icon: 'evals', key: 'v', group: '' },
  { to: '/policies', label: 'Policies', icon: 'policies', key: 'l', group: '' },
  { to: '/why', label: 'Why', icon: 'why', key: 'y', group: '' },
  { to: '/deployments', label: 'Deployments', icon: 'deployments', key: 'd', group: '' },
  { to: '/experiments', label: 'Experiments', icon: 'experiments', key: 'x', group: 'Workbench' },
  { to: '/models', label: 'Models', icon: 'models', key: 'n', group: 'Workbench' },
  { to: '/endpoints', label: 'Endpoints', icon: 'endpoints', key: 'i', group: 'Workbench' },
  { to: '/sessions', label: 'Sessions', icon: 'sessions', key: 's', group: 'Workbench' },
  { to: '/apps', label: 'Apps', icon: 'apps', key: 'u', group: 'Workbench' },
  { to: '/datasets', label: 'Datasets', icon: 'datasets', key: 't', group: 'Workbench' },
  { to: '/admin', label: 'Admin', icon: 'admin', key: 'm', group: 'Admin' },
]

/** All that somebody sees who has the token of a workspace and no account. */
const OWN: readonly Room[] = [{ to: '/workspace', label: 'My workspace', icon: 'file', key: 'w', group: '' }]

/** The rooms of whoever is in, or was until a moment ago. */
export const roomsOf = (session: Session): readonly Room[] => ('by' in session && session.by === 'token' ? OWN : ROOMS)
