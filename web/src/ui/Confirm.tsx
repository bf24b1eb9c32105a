import { useState, type ReactNode } from 'react'
import { Button } from './Button'
import { Dialog } from './Dialog'
import { TextField } from './Field'
import { ProblemNote } from './Note'

interface Props {
  open: boolean
  onClose: () => void
  title: string
  /** The word on the button, e.g. "Delete the sandbox". */
  act: string
  /** Carried out on the press; the dialog closes when it went well and shows the problem when it did not. */
  run: () => Promise<unknown>
  /** What has to be typed first: the name of what cannot be brought back, or of an environment that others use. */
  typed?: string
  danger?: boolean
  children: ReactNode
}

/** Asks once before something happens that others notice. */
export function Confirm({ open, onClose, title, act, run, typed, danger = false, children }: Props) {
  const [text, setText] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const close = () => {
    setText('')
    setError(null)
    onClose()
  }
  const go = async () => {
    setBusy(true)
    setError(null)
    try {
      await run()
      close()
    } catch (thrown) {
      setError(thrown)
    } finally {
      setBusy(false)
    }
  }
  return (
    <Dialog
      open={open}
      onClose={close}
      title={title}
      actions={
        <>
          <Button onClick={close}>Leave it</Button>
          <Button look={danger ? 'danger' : 'main'} busy={busy} disabled={typed !== undefined && text !== typed} onClick={() => void go()}>
            {act}
          </Button>
        </>
      }
    >
      {children}
      {typed !== undefined && <TextField label={`Type ${typed} to go on`} value={text} onChange={setText} autoComplete="off" />}
      {error !== null && <ProblemNote error={error} />}
    </Dialog>
  )
}
