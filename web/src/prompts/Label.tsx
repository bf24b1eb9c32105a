import { useMutation, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data } from '../api/client'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { TextArea, TextField } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'

/** Let a label name a version: at once, or once somebody has approved it. */
export function Label({ name, version, onClose }: { name: string; version: string; onClose: () => void }) {
  const cache = useQueryClient()
  const [label, setLabel] = useState('')
  const [reason, setReason] = useState('')
  const send = useMutation({
    mutationFn: () => data(api.POST('/v1/prompts/{name}/labels', { params: { path: { name } }, body: { label, version, reason } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: ['prompts'] }),
  })
  return (
    <Dialog open onClose={onClose} title={`A label for ${version}`} actions={send.data ? <Button look="main" onClick={onClose}>Close</Button> : <Button look="main" type="submit" form="label" busy={send.isPending}>Set it</Button>}>
      {send.data ? (
        <Note tone="good" role="status">
          {send.data.message}{' '}
          {send.data.approval_id && <Link to="/approvals" search={{ id: send.data.approval_id }} className="text-accent underline">The approval</Link>}
        </Note>
      ) : (
        <form id="label" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); send.mutate() }}>
          <TextField label="Label" required value={label} onChange={setLabel} hint="e.g. production, trial" />
          <TextArea label="Why" value={reason} onChange={setReason} />
        </form>
      )}
      {send.isError && <ProblemNote error={send.error} />}
    </Dialog>
  )
}
