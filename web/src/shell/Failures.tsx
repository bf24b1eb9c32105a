import { Link, type ErrorComponentProps } from '@tanstack/react-router'
import { asProblem } from '../api/problem'
import { Button } from '../ui/Button'
import { Note, ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'

/** An address that leads nowhere. */
export function Missing() {
  return (
    <Page title="There is no such page">
      <p>
        The address may be mistyped, or what it named is gone.{' '}
        <Link to="/" className="text-accent underline">
          Go home
        </Link>
      </p>
    </Page>
  )
}

// What browsers say when a part of the console does not come: no network, or the console was built anew meanwhile.
const NOT_LOADED = /dynamically imported module|module script failed|preload CSS/i

/** A page that could not be shown: the frame stays. */
export function Oops({ error, reset }: ErrorComponentProps) {
  if (NOT_LOADED.test(asProblem(error).detail))
    return (
      <Page title="This page could not be loaded">
        <Note tone="warn" role="alert">
          <p>Either the network is away, or the console was renewed since this tab was opened.</p>
          <p className="mt-2">
            <Button small onClick={() => location.reload()}>
              Load it again
            </Button>
          </p>
        </Note>
      </Page>
    )
  return (
    <Page title="This page could not be shown">
      <ProblemNote error={error} again={reset} />
    </Page>
  )
}
