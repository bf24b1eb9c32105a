import { useMutation, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Dialog } from '../ui/Dialog'
import { TextArea } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'
import { harmless } from '../ui/plain'

type Looked = Schemas['builderos__assets__prompts__schema__LintOut']

/** Write a version: have it looked over, then publish it. What is published never changes any more. */
export function Edit({ title, content, onClose }: { title: string; content: string; onClose: () => void }) {
  const cache = useQueryClient()
  const [text, setText] = useState(content)
  const look = useMutation({ mutationFn: () => data(api.POST('/v1/prompts/lint', { body: { content: text } })) })
  const publish = useMutation({
    mutationFn: () => data(api.POST('/v1/prompts', { body: { content: text } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: ['prompts'] }),
  })
  if (publish.data) {
    const made = publish.data
    return (
      <Dialog open onClose={onClose} title={title} actions={<Button look="main" onClick={onClose}>Close</Button>}>
        <Note tone="good" role="status">
          {made.message} <Link to="/prompts/$name" params={{ name: made.name }} search={{ version: made.version }} className="text-accent underline" onClick={onClose}>{made.name} {made.version}</Link>
        </Note>
        {made.latest !== made.version && <p>The name alone means {made.latest ?? 'no version'} until a suite has passed with this one.</p>}
      </Dialog>
    )
  }
  return (
    <Dialog
      open
      wide
      onClose={onClose}
      title={title}
      actions={
        <>
          <CopyAs call={{ cli: 'builderos prompt publish prompts/prompt.yaml', method: 'POST', path: '/v1/prompts', body: { content: text }, mcp: { name: 'publishPrompt', arguments: { content: text } } }} />
          <Button busy={look.isPending} onClick={() => look.mutate()}>Look it over</Button>
          <Button look="main" type="submit" form="prompt" busy={publish.isPending} disabled={text === content}>Publish</Button>
        </>
      }
    >
      <form id="prompt" onSubmit={(event) => { event.preventDefault(); publish.mutate() }}>
        <TextArea label="The file" required value={text} onChange={setText} rows={16} spellCheck={false} className="font-mono text-sm" hint="Raise `version` and say in `changelog` what became different." />
      </form>
      {look.isError && <ProblemNote error={look.error} />}
      {look.data && <Found looked={look.data} />}
      {publish.isError && <ProblemNote error={publish.error} />}
    </Dialog>
  )
}

function Found({ looked }: { looked: Looked }) {
  if (!looked.valid) {
    return (
      <Note tone="bad" role="status">
        <ul className="list-disc pl-5">
          {looked.errors.slice(0, 50).map((one) => (
            <li key={`${one.line} ${one.column} ${one.code}`}>Line {one.line}: {harmless(one.message)}{one.hint && ` ${harmless(one.hint)}`}</li>
          ))}
        </ul>
      </Note>
    )
  }
  return (
    <Note tone={looked.warnings.length > 0 ? 'warn' : 'good'} role="status">
      <p>It can be published as {looked.name} {looked.version}.{looked.since && looked.level && ` Since ${looked.since} it is a ${looked.level} change: ${looked.suggested_version} would tell so.`}</p>
      {looked.warnings.map((one) => (
        <p key={one}>{harmless(one)}</p>
      ))}
    </Note>
  )
}
