import { useRouter } from '@tanstack/react-router'
import { useEffect, useId, useMemo, useRef, useState, type KeyboardEvent } from 'react'
import { Icon } from '../ui/Icon'
import { useAllCommands, type Command } from './commands'

const MOST = 50
// Where an id leads, by its prefix: whoever has one in a log or a chat pastes it here.
const PLACES: readonly (readonly [prefix: string, what: string, address: (id: string) => string])[] = [
  ['apr_', 'approval', (id) => `/approvals?id=${id}`],
  ['run_', 'run', (id) => `/runs/${id}`],
  ['dep_', 'deployment', (id) => `/deployments/${id}`],
]

/** Commands and places by a few letters; the choice is made with arrows and Enter. */
export default function Palette({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState('')
  const [at, setAt] = useState(0)
  const dialog = useRef<HTMLDialogElement>(null)
  const list = useId()
  const found = useFound(text)
  const here = Math.min(at, found.length - 1)
  useEffect(() => {
    const box = dialog.current
    box?.showModal()
    return () => box?.close()
  }, [])
  useEffect(() => {
    document.getElementById(`${list}-${here}`)?.scrollIntoView({ block: 'nearest' })
  }, [here, list])
  const run = (command: Command | undefined) => {
    if (!command) return
    onClose()
    command.run()
  }
  const press = (event: KeyboardEvent) => {
    const to = { ArrowDown: here + 1, ArrowUp: here - 1 }[event.key]
    if (to !== undefined) setAt((to + found.length) % Math.max(1, found.length))
    else if (event.key === 'Enter') run(found[here])
    else return
    event.preventDefault()
  }
  return (
    <dialog
      ref={dialog}
      aria-label="Search and commands"
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
      onClick={(event) => {
        if (event.target === dialog.current) onClose()
      }}
      className="mt-[12vh] w-[calc(100vw-1rem)] max-w-xl rounded-xl border border-line bg-panel p-0 shadow-xl"
    >
      <div className="flex items-center gap-2 border-b border-line px-3 text-muted">
        <Icon name="search" />
        <input
          autoFocus
          role="combobox"
          aria-label="Search and commands"
          aria-expanded="true"
          aria-controls={list}
          aria-activedescendant={found.length > 0 ? `${list}-${here}` : undefined}
          autoComplete="off"
          spellCheck={false}
          placeholder="A command, or the id of something"
          value={text}
          onChange={(event) => {
            setText(event.target.value)
            setAt(0)
          }}
          onKeyDown={press}
          className="min-h-12 w-full bg-transparent text-text outline-none placeholder:text-muted"
        />
      </div>
      <div id={list} role="listbox" aria-label="Found" className="max-h-[50vh] overflow-y-auto p-1">
        {found.map((command, index) => (
          <div
            key={command.id}
            id={`${list}-${index}`}
            role="option"
            aria-selected={index === here}
            onPointerMove={() => setAt(index)}
            onClick={() => run(command)}
            className={`flex cursor-pointer items-center justify-between gap-3 rounded-md px-2.5 py-1.5 ${index === here ? 'bg-raised' : ''}`}
          >
            <span className="min-w-0 truncate">{command.label}</span>
            {command.keys && <kbd className="font-mono text-sm text-muted">{command.keys}</kbd>}
          </div>
        ))}
      </div>
      <p role="status" className="px-3 pb-2 text-sm text-muted">
        {found.length === 0 ? 'Nothing has this name.' : ''}
      </p>
    </dialog>
  )
}

function useFound(text: string): readonly Command[] {
  const all = useAllCommands()
  const router = useRouter()
  return useMemo(() => {
    const typed = text.trim()
    const places = PLACES.filter(([prefix]) => typed.startsWith(prefix) && typed.length > prefix.length).map(([, what, address]) => ({
      id: `place ${what}`,
      label: `Open the ${what} ${typed}`,
      group: 'Go',
      run: () => void router.navigate({ href: address(encodeURIComponent(typed)) }),
    }))
    const words = typed.toLowerCase().split(/\s+/)
    const named = all.filter((command) => words.every((word) => command.label.toLowerCase().includes(word)))
    return [...places, ...named].slice(0, MOST)
  }, [all, router, text])
}
