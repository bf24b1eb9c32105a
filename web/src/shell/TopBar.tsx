import { Link, useNavigate } from '@tanstack/react-router'
import { useConnection, type Connection } from '../api/live'
import { useMe } from '../api/may'
import { leave, useSession } from '../api/session'
import { IconButton } from '../ui/Button'
import { Icon } from '../ui/Icon'
import { Menu, type Item } from '../ui/Menu'
import { toast } from '../ui/toasts'
import { Bell } from './Bell'
import { Switcher } from './Switcher'
import { setTheme, useTheme } from './theme'

interface Props {
  menuOpen: boolean
  onMenu: () => void
  onPalette: () => void
  onKeys: () => void
}

const ROUND = 'inline-flex size-9 items-center justify-center rounded-md text-muted hover:bg-raised hover:text-text'

export function TopBar({ menuOpen, onMenu, onPalette, onKeys }: Props) {
  return (
    <header className="sticky top-0 z-10 flex min-h-12 items-center gap-1 border-b border-line bg-panel px-2 sm:gap-2 sm:px-3 md:col-span-2">
      <IconButton icon="menu" label="Menu" aria-expanded={menuOpen} className="md:hidden" onClick={onMenu} />
      <Link to="/" className="px-1 font-semibold max-sm:sr-only">
        BuilderOS
      </Link>
      <Switcher />
      <span className="grow" />
      <button type="button" onClick={onPalette} aria-keyshortcuts="Control+K Meta+K" className="inline-flex min-h-9 items-center gap-2 rounded-md border border-line px-2.5 text-muted hover:bg-raised hover:text-text">
        <Icon name="search" />
        <span className="max-sm:sr-only">Search</span>
        <kbd className="rounded border border-line px-1 font-mono text-xs max-lg:hidden">Ctrl K</kbd>
      </button>
      <Live />
      <Bell />
      <ThemeMenu />
      <Person onKeys={onKeys} />
    </header>
  )
}

const SAID: Record<Exclude<Connection, 'off'>, [string, string]> = {
  live: ['Live', 'What happens on the server is shown as it happens.'],
  connecting: ['Connecting', 'Waiting for the server.'],
  lost: ['Reconnecting', 'The server does not answer. Nothing is lost; it is asked until it answers.'],
}

/** Whether the page hears of what happens. */
function Live() {
  const connection = useConnection()
  if (connection === 'off') return null
  const [word, tip] = SAID[connection]
  return (
    <span role="status" title={tip} className={`inline-flex items-center gap-1.5 px-1 text-sm ${connection === 'lost' ? 'text-warn' : 'text-muted'}`}>
      <svg viewBox="0 0 8 8" aria-hidden="true" className={`size-2 ${connection === 'live' ? 'fill-good' : 'fill-none stroke-current'}`}>
        <circle cx="4" cy="4" r="3" />
      </svg>
      <span className="max-sm:sr-only">{word}</span>
    </span>
  )
}

function ThemeMenu() {
  const theme = useTheme()
  const choices = [
    ['system', 'As the system has it', 'screen'],
    ['light', 'Light', 'sun'],
    ['dark', 'Dark', 'moon'],
  ] as const
  const icon = choices.find(([each]) => each === theme)?.[2] ?? 'screen'
  return <Menu label="Colours" align="end" className={ROUND} button={<Icon name={icon} />} items={choices.map(([each, label]) => ({ label, checked: each === theme, run: () => setTheme(each) }))} />
}

function Person({ onKeys }: { onKeys: () => void }) {
  const me = useMe()
  const session = useSession()
  const go = useNavigate()
  const token = session.state === 'in' && session.by === 'token'
  const out = async () => {
    try {
      await leave()
      await go({ to: '/' })
    } catch {
      toast('The server does not answer; you are still signed in.', { tone: 'bad' })
    }
  }
  const items: Item[] = [
    { label: me?.name || me?.email || me?.label || 'You', below: me && (token ? 'A workspace without an account' : `${me.role} in ${me.org_slug}`) },
    { label: 'All keys', icon: 'key', run: onKeys },
    { label: token ? 'Leave the workspace' : 'Sign out', icon: 'external', run: () => void out() },
  ]
  return <Menu label="You" align="end" className={ROUND} button={<Icon name="person" />} items={items} />
}
