import { useQuery } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { api, data } from '../api/client'
import { useMe } from '../api/may'
import { useSession } from '../api/session'
import { Icon } from '../ui/Icon'
import { Menu, type Item } from '../ui/Menu'

const MOST = 12

/** Which organisation one is in, the way into another one, and the projects of this one. */
export function Switcher() {
  const me = useMe()
  const session = useSession()
  const go = useNavigate()
  const member = session.state === 'in' && session.by === 'cookie'
  const projects = useQuery({
    queryKey: ['projects', { shown: MOST }],
    queryFn: ({ signal }) => data(api.GET('/v1/repos', { params: { query: { limit: MOST } }, signal })),
    enabled: member,
  })
  if (!me || !member) return null
  const items: Item[] = [{ label: `Organisation ${me.org_slug}` }]
  for (const project of projects.data?.items ?? []) {
    items.push({ label: project.repo_name, icon: 'projects', run: () => void go({ to: '/projects', search: { repo: project.repo_name } }) })
  }
  items.push({ label: 'All projects', icon: 'right', run: () => void go({ to: '/projects' }) })
  if (me.member_id !== null) items.push({ label: 'Another organisation', icon: 'external', run: () => location.assign('/sign-in') })
  return (
    <Menu
      label={`${me.org_slug}: organisation and projects`}
      className="inline-flex min-h-9 min-w-0 items-center gap-1 rounded-md px-2 font-medium hover:bg-raised"
      items={items}
      button={
        <>
          <span className="max-w-32 truncate">{me.org_slug}</span>
          <Icon name="down" className="text-muted" />
        </>
      }
    />
  )
}
