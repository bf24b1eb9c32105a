import { useEffect, useState } from 'react'

/** Holds the place of what is being read. It says so only when that takes long enough to be wondered about. */
export function Waiting({ what = 'Loading' }: { what?: string }) {
  const [long, setLong] = useState(false)
  useEffect(() => {
    const timer = setTimeout(() => setLong(true), 300)
    return () => clearTimeout(timer)
  }, [])
  return (
    <p role="status" data-waiting className="min-h-24 p-2 text-muted">
      {long ? `${what}…` : ''}
    </p>
  )
}
