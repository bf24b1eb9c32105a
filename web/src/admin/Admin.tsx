import { createLazyRoute, useNavigate } from '@tanstack/react-router'
import { useMay } from '../api/may'
import { Page } from '../ui/Page'
import { Tabs } from '../ui/Tabs'
import { Access } from './Access'
import { Alerts } from './Alerts'
import { Audit } from './Audit'
import { Backups } from './Backups'
import { Budgets } from './Budgets'
import { Credentials } from './Credentials'
import { Keeping } from './Keeping'
import { Members } from './Members'
import { Models } from './Models'
import { Overview } from './Overview'
import { adminRoute, type AdminTab } from './route'
import { Sandboxes } from './Sandboxes'
import { Secrets } from './Secrets'
import { Speed } from './Speed'
import { Usage } from './Usage'
import { Webhooks } from './Webhooks'

export const Route = createLazyRoute('/admin')({ component: Admin })

const ROOMS: readonly { id: AdminTab; label: string; act: string; show: () => React.JSX.Element }[] = [
  { id: 'usage', label: 'Usage', act: 'usage.read', show: Usage },
  { id: 'models', label: 'Models', act: 'usage.read', show: Models },
  { id: 'speed', label: 'How fast', act: 'run.read', show: Speed },
  { id: 'alerts', label: 'Alerts', act: 'alert.read', show: Alerts },
  { id: 'audit', label: 'Audit', act: 'audit.read', show: Audit },
  { id: 'access', label: 'Who read what', act: 'audit.read', show: Access },
  { id: 'keeping', label: 'Keeping the record', act: 'audit.read', show: Keeping },
  { id: 'members', label: 'Members and roles', act: 'member.list', show: Members },
  { id: 'credentials', label: 'Tokens and keys', act: 'me.read', show: Credentials },
  { id: 'secrets', label: 'Secrets', act: 'secret.read', show: Secrets },
  { id: 'sandboxes', label: 'Sandboxes', act: 'sandbox.list', show: Sandboxes },
  { id: 'budgets', label: 'Budgets', act: 'usage.read', show: Budgets },
  { id: 'webhooks', label: 'Webhooks', act: 'webhook.read', show: Webhooks },
  { id: 'backups', label: 'Backups', act: 'repo.read', show: Backups },
  { id: 'server', label: 'Server', act: 'server.overview', show: Overview },
]

function Admin() {
  const search = adminRoute.useSearch()
  const go = useNavigate()
  const may = useMay()
  const rooms = ROOMS.filter((room) => may(room.act))
  const here = rooms.find((room) => room.id === search.tab) ?? rooms[0]
  return (
    <Page title="Admin" tab={here ? `${here.label} · Admin` : 'Admin'} below="Who uses what, who did what, and who may.">
      {here && (
        <Tabs label="Admin" tabs={rooms} value={here.id} onChange={(tab) => void go({ to: '/admin', search: { tab: tab as AdminTab } })}>
          <here.show key={here.id} />
        </Tabs>
      )}
    </Page>
  )
}
