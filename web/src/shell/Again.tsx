import { useState } from 'react'
import { again, isToken, leave, takeToken, useSession } from '../api/session'
import { cache } from '../api/query'
import { Button, buttonClass } from '../ui/Button'
import { Copy } from '../ui/Copy'
import { Dialog } from '../ui/Dialog'
import { TextField } from '../ui/Field'

/** The sign-in ended while a page was open: the page stays below with all that was typed, until somebody is in again. */
export function Again() {
  const session = useSession()
  const [said, setSaid] = useState('')
  const [token, setToken] = useState('')
  if (session.state !== 'over') return null
  const look = async () => {
    const found = await again()
    setSaid(found ? '' : 'Nobody is signed in in this browser yet.')
    if (found) await cache.invalidateQueries()
  }
  const back = () => {
    if (!isToken(token.trim())) return setSaid('A token begins with bos_rt_ and has 50 characters.')
    takeToken(token.trim())
    void cache.invalidateQueries()
  }
  const byToken = session.by === 'token'
  return (
    <Dialog
      open
      firm
      onClose={() => undefined}
      title={byToken ? 'Your token is not valid any more' : 'Your sign-in is over'}
      actions={
        <>
          <Button onClick={() => void leave()}>Leave the page</Button>
          <Button look="main" onClick={() => (byToken ? back() : void look())}>
            {byToken ? 'Go on' : 'I have signed in'}
          </Button>
        </>
      }
    >
      <p>The page below stays as it is: nothing that you typed is lost.</p>
      {byToken ? (
        <TextField label="Token of the workspace" type="password" autoComplete="off" value={token} onChange={setToken} />
      ) : (
        <>
          <p>
            <a className={buttonClass('plain')} href="/sign-in" target="_blank" rel="noreferrer">
              Sign in in a new tab
            </a>
          </p>
          <p className="flex flex-wrap items-center gap-2">
            On your own server: <code className="rounded bg-raised px-2 py-1 font-mono text-sm">builderos open</code>
            <Copy text="builderos open" />
          </p>
        </>
      )}
      <p role="status">{said}</p>
    </Dialog>
  )
}
