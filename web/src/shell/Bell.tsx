import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { api, data } from '../api/client'
import { useSession } from '../api/session'
import { Icon } from '../ui/Icon'
import { Menu, type Item } from '../ui/Menu'
import { ago } from '../ui/Time'
import { inboxQuery } from './inbox'

const SHOWN = 8

/** How much waits, and the newest of it. */
export function Bell() {
  const session = useSession()
  const go = useNavigate()
  const queries = useQueryClient()
  const inbox = useQuery({ ...inboxQuery, enabled: session.state === 'in' && session.by === 'cookie' })
  const read = useMutation({
    mutationFn: (items: string[]) => data(api.POST('/v1/inbox/read', { body: { items, read: true } })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ['inbox'] }),
  })
  if (!inbox.data) return null
  const { items, unread } = inbox.data
  const fresh = items.filter((item) => !item.read)
  const entries: Item[] = [{ label: unread === 0 ? 'Nothing new' : `${unread} new` }]
  for (const item of items.slice(0, SHOWN)) {
    const approval = item.kind === 'approval'
    entries.push({
      label: item.title,
      icon: approval ? 'approvals' : 'warn',
      below: `${item.weight}, ${ago(item.at)}`,
      run: () => {
        read.mutate([item.id])
        void (approval ? go({ to: '/approvals', search: { id: item.id } }) : go({ to: '/' }))
      },
    })
  }
  if (fresh.length > 0) entries.push({ label: 'Mark all as read', run: () => read.mutate(fresh.map((item) => item.id)) })
  entries.push({ label: 'All approvals', icon: 'right', run: () => void go({ to: '/approvals' }) })
  return (
    <Menu
      label={unread === 0 ? 'Notifications' : `Notifications, ${unread} new`}
      align="end"
      className="relative inline-flex size-9 items-center justify-center rounded-md text-muted hover:bg-raised hover:text-text"
      items={entries}
      button={
        <>
          <Icon name="bell" />
          {unread > 0 && <span className="absolute -top-0.5 -right-0.5 min-w-4.5 rounded-full bg-accent px-1 text-center text-xs leading-4.5 font-medium text-on-accent">{unread > 99 ? '99+' : unread}</span>}
        </>
      }
    />
  )
}
