import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data } from '../api/client'
import { upload } from '../api/upload'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { Field, TextField } from '../ui/Field'
import { ProblemNote } from '../ui/Note'

/** Make an experiment of a file that an export gave, here or on another server. */
export function Import({ onClose }: { onClose: () => void }) {
  const [file, setFile] = useState<File | null>(null)
  const [name, setName] = useState('')
  const [share, setShare] = useState(0)
  const cache = useQueryClient()
  const go = useNavigate()
  const send = useMutation({
    mutationFn: async (chosen: File) => {
      const kept = await upload(chosen, 'imports/experiment.zip', 'experiment', setShare)
      return data(api.POST('/v1/experiments/import', { body: { artifact_id: kept.id, name: name.trim() || null } }))
    },
    onSuccess: async (made) => {
      await cache.invalidateQueries({ queryKey: ['experiments'] })
      await go({ to: '/experiments/$id', params: { id: made.experiment.id } })
    },
  })
  return (
    <Dialog open onClose={onClose} title="Import an experiment" actions={<Button look="main" type="submit" form="import" busy={send.isPending} disabled={file === null}>Import it</Button>}>
      <form id="import" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); if (file) send.mutate(file) }}>
        <Field label="File" hint="A zip that Export gave, here or on another server.">
          {(ids) => <input type="file" {...ids} required accept=".zip,application/zip" onChange={(event) => setFile(event.target.files?.[0] ?? null)} className="w-full rounded-md border border-edge bg-panel px-2.5 py-1.5 file:mr-3 file:rounded file:border-0 file:bg-raised file:px-2 file:py-0.5 file:text-text" />}
        </Field>
        <TextField label="Name" placeholder="the one that it had" value={name} onChange={setName} />
      </form>
      {send.isPending && <progress aria-label="Sent" value={share} max={1} className="w-full accent-accent" />}
      {send.isError && <ProblemNote error={send.error} />}
    </Dialog>
  )
}
