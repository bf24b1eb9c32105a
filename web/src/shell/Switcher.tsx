import { useQuery } from '@tanstack/react-query'
import { useRouter } from '@tanstack/react-router'
import { api, data } from '../api/client'
import { useMe } from '../api/may'
import { useSession } from '../api/session'
import { Icon } from '../ui/Icon'
import { Menu, type Item } from '../ui/Menu'

/** Which organisation one is in, the way into another one, and the projects of this one. */
export function Switcher() {
  const me = useMe()
  const session = useSession()
  const router = useRouter()
  const member = session.state === 'in' && session.by === 'cookie'
  const projects = useQuery({
    queryKey: ['projects', {}],
    queryFn: ({ signal }) => data(api.GET('/v1/projects', { signal })),
    enabled: member,
  })
  if (!me || !member) return null
  const items: Item[] = [{ label: `Organisation ${me.org_slug}` }]
  for (const project of projects.data?.items ?? []) {
    items.push({ label: project.name, icon: 'projects', below: project.path, run: () => void router.navigate({ href: `/projects/${project.id}` }) })
  }
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
