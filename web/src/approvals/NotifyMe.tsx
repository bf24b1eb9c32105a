import { useState } from 'react'
import { Button } from '../ui/Button'
import { toast } from '../ui/toasts'

/** Ask the browser whether it may say aloud that something waits; it is asked only by a press. */
export function NotifyMe() {
  const [state, setState] = useState(() => ('Notification' in window ? Notification.permission : 'denied'))
  if (state !== 'default') return null
  const ask = async () => {
    const given = await Notification.requestPermission()
    setState(given)
    if (given === 'granted') toast('This browser will tell you when something waits for you.')
  }
  return (
    <Button icon="bell" onClick={() => void ask()}>
      Notify me
    </Button>
  )
}
