import { Link, Outlet, useLocation } from '@tanstack/react-router'
import { useState } from 'react'
import { leave, useSession } from '../api/session'
import { Button, IconButton } from '../ui/Button'
import { Icon } from '../ui/Icon'
import { ROOMS, type Room } from './rooms'
import { SignIn } from './SignIn'

/** The frame: sidebar, top bar, and the page between them. */
export function Shell() {
  const session = useSession()
  const path = useLocation({ select: (at) => at.pathname })
  const [open, setOpen] = useState(false)
  if (path === '/open') return <Outlet />
  if (session.state === 'asking') return <main aria-busy="true" />
  if (session.state === 'out') return <SignIn />
  return (
    <div className="grid min-h-dvh grid-rows-[auto_1fr] md:grid-cols-[13.5rem_1fr]">
      <a href="#main" className="sr-only focus:not-sr-only focus:absolute focus:z-20 focus:bg-panel focus:p-2">
        Skip to the page
      </a>
      <header className="sticky top-0 z-10 flex min-h-12 items-center gap-2 border-b border-line bg-panel px-3 md:col-span-2">
        <IconButton icon="menu" label="Menu" aria-expanded={open} className="md:hidden" onClick={() => setOpen(!open)} />
        <Link to="/" className="flex items-center gap-2 font-semibold">
          BuilderOS
        </Link>
        <span className="grow" />
        <Button look="quiet" small onClick={() => void leave()}>
          Sign out
        </Button>
      </header>
      <Sidebar open={open} onGone={() => setOpen(false)} />
      <main id="main" tabIndex={-1} className="min-w-0 outline-none">
        <Outlet />
      </main>
    </div>
  )
}

function Sidebar({ open, onGone }: { open: boolean; onGone: () => void }) {
  const groups = ['', 'Admin'] as const
  return (
    <nav aria-label="Rooms" className={`${open ? 'block' : 'hidden'} border-line bg-panel p-2 max-md:border-b md:block md:border-r`}>
      {groups.map((group) => {
        const rooms = ROOMS.filter((room) => room.group === group)
        return (
          rooms.length > 0 && (
            <ul key={group} aria-label={group || undefined} className="mb-3 flex flex-col gap-0.5">
              {rooms.map((room) => (
                <Entry key={room.to} room={room} onGone={onGone} />
              ))}
            </ul>
          )
        )
      })}
    </nav>
  )
}

function Entry({ room, onGone }: { room: Room; onGone: () => void }) {
  return (
    <li>
      <Link
        to={room.to}
        activeOptions={{ exact: room.to === '/' }}
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
