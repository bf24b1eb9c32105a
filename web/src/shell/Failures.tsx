import { Link, type ErrorComponentProps } from '@tanstack/react-router'
import { ProblemNote } from '../ui/Note'
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

/** A page that could not be shown: the frame stays. */
export function Oops({ error, reset }: ErrorComponentProps) {
  return (
    <Page title="This page could not be shown">
      <ProblemNote error={error} again={reset} />
    </Page>
  )
}
