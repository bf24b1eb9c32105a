import { useState } from 'react'
import { Button } from '../ui/Button'
import { Copy } from '../ui/Copy'
import { Dialog } from '../ui/Dialog'

/** The way back into a workspace. Its token stands in no address; the file is made here, in the browser. */
export function Key({ token, branch }: { token: string; branch: string }) {
  const [open, setOpen] = useState(false)
  return (
    <>
      <Button icon="key" onClick={() => setOpen(true)}>
        Keep the key
      </Button>
      <Dialog
        open={open}
        onClose={() => setOpen(false)}
        title="The key of this workspace"
        actions={
          <>
            <Copy text={token} label="Copy the key" small={false} />
            <Button look="main" icon="download" onClick={() => save(token, branch)}>
              Download it as a file
            </Button>
          </>
        }
      >
        <p>Who has it can come back here, from any computer. There is no other way back: keep it like a password, and give it to nobody.</p>
        <p>
          <code className="rounded bg-raised px-2 py-1 font-mono text-sm">{`${token.slice(0, 12)}…${token.slice(-4)}`}</code>
        </p>
      </Dialog>
    </>
  )
}

function save(token: string, branch: string): void {
  const text = `The key of your BuilderOS workspace ${branch}.\nTo come back, open ${location.origin} and paste it, or give it to your assistant.\n\n${token}\n`
  const address = URL.createObjectURL(new Blob([text], { type: 'text/plain' }))
  const link = document.createElement('a')
  link.href = address
  link.download = `builderos-${branch}.txt`
  link.click()
  setTimeout(() => URL.revokeObjectURL(address), 10_000)
}
