import { Link, Outlet, useLocation, useNavigate } from '@tanstack/react-router'
import { Fragment, lazy, Suspense, useEffect, useMemo, useState } from 'react'
import { listen } from '../api/live'
import { cache } from '../api/query'
import { onSession, session as current, useSession } from '../api/session'
import { Icon } from '../ui/Icon'
import { Toasts } from '../ui/Toasts'
import { Again } from './Again'
import { notifyOfApprovals } from './notify'
import { listenForKeys, useCommands, type Command } from './commands'
import { roomsOf, type Room } from './rooms'
import { SignIn } from './SignIn'
import { setTheme } from './theme'
import { TopBar } from './TopBar'

const Palette = lazy(() => import('./Palette'))
const Keys = lazy(() => import('./Keys'))

/** The frame: sidebar, top bar, and the page between them. */
export function Shell() {
  const session = useSession()
  const path = useLocation({ select: (at) => at.pathname })
  if (path === '/open') return <Outlet />
  if (session.state === 'asking') return <main aria-busy="true" aria-label="BuilderOS" />
  if (session.state === 'out') return <SignIn />
  return (
    <>
      <Frame />
      <Again />
      <Toasts />
    </>
  )
}

/** What was read for one person is not shown to the next. */
onSession(() => {
  if (current().state === 'out') cache.clear()
})

function Frame() {
  const session = useSession()
  const [open, setOpen] = useState(false)
  const [over, setOver] = useState<'palette' | 'keys' | null>(null)
  const listening = session.state === 'in'
  const who = session.state === 'in' && session.by === 'cookie' ? session.id : ''
  useEffect(() => (listening ? listen() : undefined), [listening, who])
  useEffect(listenForKeys, [])
  const go = useNavigate()
  useEffect(() => notifyOfApprovals((id) => void go({ to: '/approvals', search: { id } })), [go])
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() !== 'k' || !(event.metaKey || event.ctrlKey) || event.shiftKey || event.altKey) return
      event.preventDefault()
      setOver((now) => (now === 'palette' ? null : 'palette'))
    }
    document.addEventListener('keydown', press)
    return () => document.removeEventListener('keydown', press)
  }, [])
  useCommands(useFrameCommands(setOver))
  return (
    <div className="grid min-h-dvh grid-rows-[auto_1fr] md:grid-cols-[13.5rem_1fr]">
      <a href="#main" className="sr-only focus:not-sr-only focus:absolute focus:z-20 focus:bg-panel focus:p-2">
        Skip to the page
      </a>
      <TopBar menuOpen={open} onMenu={() => setOpen(!open)} onPalette={() => setOver('palette')} onKeys={() => setOver('keys')} />
      <Sidebar open={open} onGone={() => setOpen(false)} />
      <main id="main" tabIndex={-1} className="min-w-0 outline-none">
        <Suspense>
          <Outlet />
        </Suspense>
      </main>
      <Suspense>
        {over === 'palette' && <Palette onClose={() => setOver(null)} />}
        {over === 'keys' && <Keys onClose={() => setOver(null)} />}
      </Suspense>
    </div>
  )
}

/** What can be done from everywhere. */
function useFrameCommands(open: (what: 'palette' | 'keys') => void): readonly Command[] {
  const go = useNavigate()
  const session = useSession()
  return useMemo(
    () => [
      ...roomsOf(session).map((room) => ({ id: `go ${room.to}`, label: `Go to ${room.label}`, group: 'Go', keys: `g ${room.key}`, run: () => void go({ to: room.to }) })),
      { id: 'palette', label: 'Search and commands', group: 'Help', keys: '/', run: () => open('palette') },
      { id: 'keys', label: 'Show all keys', group: 'Help', keys: '?', run: () => open('keys') },
      { id: 'light', label: 'Light colours', group: 'Look', run: () => setTheme('light') },
      { id: 'dark', label: 'Dark colours', group: 'Look', run: () => setTheme('dark') },
      { id: 'system', label: 'Colours as the system has them', group: 'Look', run: () => setTheme('system') },
    ],
    [go, open, session],
  )
}

function Sidebar({ open, onGone }: { open: boolean; onGone: () => void }) {
  const groups = ['', 'Workbench', 'Admin'] as const
  const mine = roomsOf(useSession())
  return (
    <nav aria-label="Rooms" className={`${open ? 'block' : 'hidden'} border-line bg-panel p-2 max-md:border-b md:block md:border-r`}>
      <div className="md:sticky md:top-14">
        {groups.map((group) => {
          const rooms = mine.filter((room) => room.group === group)
          return (
            rooms.length > 0 && (
              <Fragment key={group}>
                {rooms.length > 1 && group && <p aria-hidden className="px-2.5 pb-1 text-xs font-medium text-muted">{group}</p>}
                <ul aria-label={group || undefined} className="mb-3 flex flex-col gap-0.5">
                  {rooms.map((room) => (
                    <Entry key={room.to} room={room} onGone={onGone} />
                  ))}
                </ul>
              </Fragment>
            )
          )
        })}
      </div>
    </nav>
  )
}

function Entry({ room, onGone }: { room: Room; onGone: () => void }) {
  return (
    <li>
      <Link
        to={room.to}
        activeOptions={{ exact: room.to === '/', includeSearch: false }}
        onClick={onGone}
        className="flex items-center gap-2.5 rounded-md px-2.5 py-1.5 text-muted hover:bg-raised hover:text-text"
        activeProps={{ className: 'bg-raised font-medium text-text!', 'aria-current': 'page' }}
      >
        <Icon name={room.icon} />
        {room.label}
      </Link>
    </li>
  )
}
