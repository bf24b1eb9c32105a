import { useEffect, useState } from 'react'
import { Button } from './Button'

/** A button that puts a text on the clipboard and says that it did. */
export function Copy({ text, label = 'Copy', small = true }: { text: string; label?: string; small?: boolean }) {
  const [done, setDone] = useState<'' | 'Copied' | 'Not copied'>('')
  useEffect(() => {
    if (done === '') return
    const timer = setTimeout(() => setDone(''), 2000)
    return () => clearTimeout(timer)
  }, [done])
  return (
    <Button small={small} icon="copy" onClick={() => void navigator.clipboard.writeText(text).then(() => setDone('Copied'), () => setDone('Not copied'))}>
      <span aria-live="polite">{done || label}</span>
    </Button>
  )
}
