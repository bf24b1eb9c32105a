import { useMutation } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { Checkbox, TextArea, TextField } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'
import { harmless } from '../ui/plain'

interface Made {
  name: string
  version: number | null
  promotion: string | null
}

/** Make the next version of a model out of a folder of a run: at once, or with an approval. */
export function RegisterFrom({ run }: { run: string }) {
  const [open, setOpen] = useState(false)
  const [name, setName] = useState('')
  const [path, setPath] = useState('model')
  const [reason, setReason] = useState('')
  const [ask, setAsk] = useState(false)
  const mayAsk = useMay()('registry.promote')
  const make = useMutation({
    mutationFn: async (): Promise<Made> => {
      const folder = path.trim().replace(/^\/+|\/+$/g, '')
      if (ask) {
        const asked = await data(api.POST('/v1/promotions', { body: { kind: 'run_to_model', from: { run_id: run, path: folder }, to: { name: name.trim() }, reason } }))
        return { name: name.trim(), version: null, promotion: asked.id }
      }
      const made = await data(api.POST('/v1/models/{name}/versions', { params: { path: { name: name.trim() } }, body: { source: `runs:/${run}/${folder}`.replace(/\/$/, ''), run_id: run, description: reason } }))
      return { name: made.name, version: made.version, promotion: null }
    },
  })
  const close = () => {
    setOpen(false)
    make.reset()
  }
  return (
    <>
      <Button onClick={() => setOpen(true)}>Register a model</Button>
      <Dialog open={open} onClose={close} title="Register a model from this run" actions={make.data ? <Button look="main" onClick={close}>Close</Button> : <Button look="main" type="submit" form="register" busy={make.isPending} disabled={name.trim() === ''}>{ask ? 'Ask for it' : 'Register it'}</Button>}>
        {make.data ? <Done made={make.data} /> : (
          <form id="register" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); make.mutate() }}>
            <TextField label="Model" required value={name} onChange={setName} hint="A registered one; its next version is made." />
            <TextField label="Folder of the run" value={path} onChange={setPath} />
            <TextArea label="Why" value={reason} onChange={setReason} maxLength={2000} />
            {mayAsk && <Checkbox label="Somebody has to approve it" checked={ask} onChange={setAsk} />}
          </form>
        )}
        {make.isError && <ProblemNote error={make.error} />}
      </Dialog>
    </>
  )
}

function Done({ made }: { made: Made }) {
  return (
    <Note tone="good" role="status">
      {made.promotion ? <Link to="/promotions/$id" params={{ id: made.promotion }} className="text-accent underline">It was asked for</Link> : (
        <>
          It is <Link to="/models/$name" params={{ name: made.name }} search={{ version: made.version ?? undefined }} className="text-accent underline">{harmless(made.name)}@{made.version}</Link>.
        </>
      )}
    </Note>
  )
}
