import { useState } from 'react'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { Checkbox, TextField } from '../ui/Field'
import { shownLine } from '../ui/plain'
import { kindWord, written, type Key, type Kind } from './keys'

const MOST_COLUMNS = 60
const MOST_LISTED = 100
const KINDS: readonly Kind[] = ['metrics', 'params', 'tags']

/** Which metrics, params and tags are columns: kept in the address. */
export function Columns({ keys, shown, onChange }: { keys: readonly Key[]; shown: readonly Key[]; onChange: (cols: readonly Key[] | undefined) => void }) {
  const [open, setOpen] = useState(false)
  const [part, setPart] = useState('')
  const chosen = new Set(shown.map(written))
  const like = keys.filter((key) => key.name.toLowerCase().includes(part.toLowerCase()))
  const flip = (key: Key) => {
    const name = written(key)
    onChange(chosen.has(name) ? shown.filter((one) => written(one) !== name) : [...shown, key].slice(0, MOST_COLUMNS))
  }
  return (
    <>
      <Button onClick={() => setOpen(true)}>Columns</Button>
      <Dialog open={open} onClose={() => setOpen(false)} title="Columns" actions={<><Button onClick={() => onChange(undefined)}>As at first</Button><Button look="main" onClick={() => setOpen(false)}>Done</Button></>}>
        <TextField label="Part of the name" value={part} onChange={setPart} />
        {KINDS.map((kind) => {
          const found = like.filter((key) => key.kind === kind)
          return (
            found.length > 0 && (
              <fieldset key={kind} className="flex flex-col gap-1">
                <legend className="text-sm font-medium">{kindWord(kind)}</legend>
                {found.slice(0, MOST_LISTED).map((key) => (
                  <Checkbox key={written(key)} label={<bdi>{shownLine(key.name, 120)}</bdi>} checked={chosen.has(written(key))} onChange={() => flip(key)} />
                ))}
                {found.length > MOST_LISTED && <p className="text-sm text-muted">And {(found.length - MOST_LISTED).toLocaleString('en')} more: type a part of the name.</p>}
              </fieldset>
            )
          )
        })}
        {like.length === 0 && <p className="text-muted">No run that is shown has a key like this.</p>}
      </Dialog>
    </>
  )
}
