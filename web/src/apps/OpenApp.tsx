import { createLazyRoute, Link } from '@tanstack/react-router'
import { useEffect, useState } from 'react'
import { api, data } from '../api/client'
import { ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'
import { Waiting } from '../ui/Waiting'
import { openAppRoute } from './route'

export const Route = createLazyRoute('/apps/$id/open')({ component: OpenApp })

/** The way into an app: a token for it alone is asked for, and the browser goes on to where it counts, once. */
function OpenApp() {
  const { id } = openAppRoute.useParams()
  const { path } = openAppRoute.useSearch()
  const [error, setError] = useState<unknown>(null)
  const [tries, setTries] = useState(0)
  useEffect(() => {
    let gone = false
    const enter = async () => {
      const { url } = await data(api.POST('/v1/apps/{id}/token', { params: { path: { id } }, body: { path: path ?? '/' } }))
      if (!gone && /^https?:\/\//.test(url)) location.replace(url)
    }
    enter().catch((thrown: unknown) => !gone && setError(thrown))
    return () => {
      gone = true
    }
  }, [id, path, tries])
  return (
    <Page title="Open an app" below={<Link to="/apps/$id" params={{ id }} className="text-accent underline">The app</Link>}>
      {error === null ? <Waiting what="On the way" /> : <ProblemNote error={error} again={() => { setError(null); setTries(tries + 1) }} />}
    </Page>
  )
}
