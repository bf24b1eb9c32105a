import type { IconName } from '../ui/Icon'

/** An entry of the sidebar: one line per room that has a page. `key` is what follows `g`. */
export interface Room {
  to: string
  label: string
  icon: IconName
  key: string
  group: '' | 'Admin'
}

export const ROOMS: readonly Room[] = [
  { to: '/', label: 'Home', icon: 'home', key: 'h', group: '' },
  { to: '/approvals', label: 'Approvals', icon: 'approvals', key: 'a', group: '' },
]
