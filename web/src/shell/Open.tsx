import { createLazyRoute, useNavigate } from '@tanstack/react-router'
import { useEffect, useState } from 'react'
import { enter } from '../api/session'
import { Button } from '../ui/Button'
import { Note } from '../ui/Note'

export const Route = createLazyRoute('/open')({ component: Open })

// The code stands behind the #, which browsers send to nobody; it is taken out of the address at once.
const code = location.pathname === '/open' ? location.hash.slice(1) : ''
const to = new URLSearchParams(location.search).get('to') ?? '/'
const there = /^\/(?!\/)/.test(to) ? to : '/'
if (code) history.replaceState(null, '', '/open')

/** Where `builderos open` leads: one press, so that a page that is merely opened uses nothing up. */
function Open() {
  const go = useNavigate()
  const [said, setSaid] = useState<string | null>(code ? null : 'This address holds no code. Run builderos open again.')
  const [busy, setBusy] = useState(false)
  useEffect(() => {
    document.title = 'Open · BuilderOS'
  }, [])
  const open = async () => {
    setBusy(true)
    const wrong = await enter(code).catch(() => 'The server does not answer. Try again.')
    setBusy(false)
    if (wrong === null) await go({ href: there, replace: true })
    else setSaid(wrong)
  }
  return (
    <main className="mx-auto flex max-w-xl flex-col gap-4 px-4 py-[10vh]">
      <h1>Open the console in this browser</h1>
      <p>You will be signed in here as whoever ran the command.</p>
      {said && (
        <Note tone="bad" role="alert">
          {said}
        </Note>
      )}
      <div>
        <Button look="main" busy={busy} disabled={!code} onClick={() => void open()} autoFocus>
          Continue
        </Button>
      </div>
    </main>
  )
}
