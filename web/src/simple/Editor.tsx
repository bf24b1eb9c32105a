import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { getRouteApi, Link, useBlocker } from '@tanstack/react-router'
import { lazy, Suspense, useRef, useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { asProblem } from '../api/problem'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { TextField } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'
import { Path } from './Files'
import { at } from './route'
import { useWhere, type Where } from './where'

const route = getRouteApi('/workspace')
const Preview = lazy(() => import('./Preview'))
const CodeEditor = lazy(() => import('../ui/CodeEditor'))

/** One file: read it, change it, see how it looks, save. */
export function Editor({ path, stands }: { path: string; stands: string }) {
  const where = useWhere()
  const found = useQuery({
    queryKey: ['commits', where, 'file', path, stands],
    queryFn: ({ signal }) => data(api.POST('/system/fetch_files', { body: { ...where, path }, signal })),
    placeholderData: (before) => before, // what is being typed stays while a newer state is read
  })
  const cut = path.lastIndexOf('/')
  return (
    <div className="flex flex-col gap-3">
      <div className="flex flex-wrap items-center justify-between gap-2">
        <Path folder={cut < 0 ? '' : path.slice(0, cut)} file={path.slice(cut + 1)} />
        <Link to="/why" search={{ ...(where.repo_name ? { repo: where.repo_name } : {}), ...(where.branch ? { branch: where.branch } : {}), path }} className="text-accent underline">
          Who wrote which line
        </Link>
      </div>
      {found.isPending ? (
        <Waiting />
      ) : found.isError ? (
        <ProblemNote error={found.error} again={() => void found.refetch()} />
      ) : (
        <Open path={path} file={found.data.files[0] ?? null} />
      )}
    </div>
  )
}

/** What was typed and not saved, and which state of the file it was typed over. */
interface Draft {
  text: string
  base: string | null
}

/** A draft outlives a reload of this tab. */
function useDraft(where: Where, path: string) {
  const key = `builderos.draft:${where.repo_name ?? ''}:${where.branch ?? ''}:${path}`
  const [draft, setDraft] = useState(() => draftOf(sessionStorage.getItem(key)))
  const keep = (next: Draft | null) => {
    setDraft(next)
    try {
      if (next === null) sessionStorage.removeItem(key)
      else sessionStorage.setItem(key, JSON.stringify(next))
    } catch {
      // The browser keeps no more: the text is on the page all the same.
    }
  }
  return [draft, keep] as const
}

function draftOf(kept: string | null): Draft | null {
  const read: unknown = kept === null ? null : JSON.parse(kept)
  return typeof read === 'object' && read !== null && 'text' in read && 'base' in read ? (read as Draft) : null
}

const IMAGES: Record<string, string> = { png: 'image/png', jpg: 'image/jpeg', jpeg: 'image/jpeg', gif: 'image/gif', webp: 'image/webp' }

function Open({ path, file }: { path: string; file: Schemas['FileOut'] | null }) {
  const image = IMAGES[path.slice(path.lastIndexOf('.') + 1).toLowerCase()]
  if (file?.truncated) return <Note tone="warn">This file is too long to be changed here ({file.size.toLocaleString('en')} bytes). Your assistant or a git client can.</Note>
  if (file?.encoding === 'base64' && image) return <img src={`data:${image};base64,${file.content}`} alt={path} className="max-w-full rounded border border-line bg-panel" />
  if (file?.encoding === 'base64') return <Note>This file is no text; it cannot be shown here.</Note>
  return <Text path={path} file={file} />
}

function Text({ path, file }: { path: string; file: Schemas['FileOut'] | null }) {
  const where = useWhere()
  const saved = file?.content ?? ''
  const now = file?.sha ?? null
  const [draft, keep] = useDraft(where, path)
  const [look, setLook] = useState<'text' | 'preview'>('text')
  const [what, setWhat] = useState('')
  const [removing, setRemoving] = useState(false)
  const save = useSave(path, now)
  const form = useRef<HTMLFormElement>(null)
  const text = draft?.text ?? saved
  const changed = text !== saved || file === null
  const moved = draft !== null && draft.base !== now && draft.text !== saved
  const meant = what.trim() || `${file === null ? 'Write' : 'Change'} ${path}`
  const type = (next: string) => keep(next === saved ? null : { text: next, base: draft?.base ?? now })
  const saveIt = () =>
    save.mutate(
      { content: text, message: meant },
      {
        onSuccess: () => {
          setWhat('')
          keep(null)
        },
      },
    )
  useBlocker({ shouldBlockFn: () => false, enableBeforeUnload: () => text !== saved })
  return (
    <div className="flex flex-col gap-3">
      {/\.(md|markdown)$/i.test(path) && (
        <div role="group" aria-label="How the file is shown" className="flex gap-1">
          {(['text', 'preview'] as const).map((one) => (
            <Button key={one} small look={look === one ? 'plain' : 'quiet'} aria-pressed={look === one} onClick={() => setLook(one)}>
              {one === 'text' ? 'Text' : 'Preview'}
            </Button>
          ))}
        </div>
      )}
      {look === 'preview' ? (
        <Suspense fallback={<Waiting />}>
          <Preview text={text} />
        </Suspense>
      ) : (
        <div>
          <Suspense fallback={<div className="min-h-[50vh] rounded-md border border-edge bg-panel p-3"><Waiting /></div>}>
            <CodeEditor
              label={`Text of ${path}`}
              path={path}
              value={text}
              onChange={type}
              onSave={() => changed && !moved && !save.isPending && saveIt()}
              onLeave={() => form.current?.querySelector('input')?.focus()}
            />
          </Suspense>
          <p className="mt-1 text-sm text-muted">Tab indents, Escape leaves the text, Ctrl S saves, Ctrl F finds.</p>
        </div>
      )}
      <form
        ref={form}
        className="flex flex-wrap items-end gap-2"
        onSubmit={(event) => {
          event.preventDefault()
          saveIt()
        }}
      >
        <div className="min-w-48 grow">
          <TextField label="What did you change?" placeholder={meant} value={what} onChange={setWhat} autoComplete="off" maxLength={500} />
        </div>
        <Button type="submit" look="main" busy={save.isPending} disabled={!changed || moved}>
          Save
        </Button>
        {file !== null && (
          <Button look="danger" onClick={() => setRemoving(true)}>
            Remove the file
          </Button>
        )}
      </form>
      {moved ? <Moved mine={() => keep({ text, base: now })} theirs={() => keep(null)} /> : save.isError && <ProblemNote error={save.error} />}
      <Confirm open={removing} onClose={() => setRemoving(false)} title={`Remove ${path}?`} act="Remove it" danger run={() => save.mutateAsync({ content: null, message: `Remove ${path}` })}>
        <p>It stays in your history: you can undo this.</p>
      </Confirm>
    </div>
  )
}

function Moved({ mine, theirs }: { mine: () => void; theirs: () => void }) {
  return (
    <Note tone="warn" role="alert">
      <p>Somebody, perhaps your assistant, has changed this file meanwhile. Nothing of theirs and nothing of yours is lost.</p>
      <p className="mt-2 flex flex-wrap gap-2">
        <Button small onClick={theirs}>
          Take theirs
        </Button>
        <Button small onClick={mine}>
          Go on with mine
        </Button>
      </p>
    </Note>
  )
}

/** Saves or removes the file, unless it has changed since it was read. */
function useSave(path: string, base: string | null) {
  const where = useWhere()
  const cache = useQueryClient()
  const go = route.useNavigate()
  return useMutation({
    mutationFn: ({ content, message }: { content: string | null; message: string }) =>
      data(
        api.POST('/commit_and_log_output', {
          body: {
            ...where,
            message,
            files: [{ path, ...(content === null ? { delete: true } : { content }), expected_sha: base }],
          },
        }),
      ),
    onError: (error) => asProblem(error).status === 409 && cache.invalidateQueries({ queryKey: ['commits'] }),
    onSuccess: async (_, { content }) => {
      toast(content === null ? 'Removed. It is in your history.' : 'Saved. It is in your history.')
      if (content === null) await go({ search: (now) => at(now, {}) })
      await cache.invalidateQueries({ queryKey: ['commits'] })
    },
  })
}
