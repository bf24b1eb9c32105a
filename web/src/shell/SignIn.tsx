import { useState } from 'react'
import { isToken, takeToken } from '../api/session'
import { Start } from '../simple/Start'
import { Button, buttonClass } from '../ui/Button'
import { Copy } from '../ui/Copy'
import { Note } from '../ui/Note'

/** What somebody sees who is not in: the ways in, each in one sentence. */
export function SignIn() {
  return (
    <main className="mx-auto flex max-w-xl flex-col gap-6 px-4 py-[10vh]">
      <h1>BuilderOS</h1>
      <p className="text-lg">A safe place to build: what you do cannot hurt anybody's work, and everything can be undone.</p>
      <Start />
      <ByToken />
      <section aria-label="Sign in" className="flex flex-col gap-3 rounded-lg border border-line bg-panel p-4">
        <h2>I am a member</h2>
        <p>
          <a className={buttonClass('plain')} href="/sign-in">
            Sign in
          </a>
        </p>
        <h2>This is my own server</h2>
        <p className="flex flex-wrap items-center gap-2">
          <code className="rounded bg-raised px-2 py-1 font-mono text-sm">builderos open</code>
          <Copy text="builderos open" />
        </p>
      </section>
    </main>
  )
}

function ByToken() {
  const [token, setToken] = useState('')
  const [wrong, setWrong] = useState(false)
  return (
    <form
      aria-label="Come back to my workspace"
      className="flex flex-col gap-3 rounded-lg border border-line bg-panel p-4"
      onSubmit={(event) => {
        event.preventDefault()
        if (isToken(token.trim())) takeToken(token.trim())
        else setWrong(true)
      }}
    >
      <h2>I have the token of a workspace</h2>
      <label className="flex flex-col gap-1">
        Token
        <input type="password" autoComplete="off" spellCheck={false} value={token} onChange={(event) => setToken(event.target.value)} className="rounded-md border border-edge bg-panel px-2 py-1.5 font-mono" />
      </label>
      {wrong && (
        <Note tone="bad" role="alert">
          A token begins with bos_rt_ and has 50 characters.
        </Note>
      )}
      <div>
        <Button type="submit">Come back</Button>
      </div>
    </form>
  )
}
