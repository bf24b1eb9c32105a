import { useEffect, useSyncExternalStore } from 'react'

/** Something that can be done from here: it stands in the palette, and its keys do it at once. */
export interface Command {
  id: string
  label: string
  /** Where it stands in the list of keys. */
  group: string
  run: () => void
  /** One key, or two after each other: `?`, `a`, `g r`. */
  keys?: string
}

const all = new Map<symbol, readonly Command[]>()
const heard = new Set<() => void>()
let flat: readonly Command[] = []

function changed(): void {
  flat = [...all.values()].flat()
  for (const listener of heard) listener()
}

/** Offer commands while a part of a page is shown. Keep the list with useMemo. */
export function useCommands(commands: readonly Command[]): void {
  useEffect(() => {
    const key = Symbol('commands')
    all.set(key, commands)
    changed()
    return () => {
      all.delete(key)
      changed()
    }
  }, [commands])
}

export const commands = (): readonly Command[] => flat

export function useAllCommands(): readonly Command[] {
  return useSyncExternalStore((listener) => {
    heard.add(listener)
    return () => heard.delete(listener)
  }, commands)
}

const AFTER_MS = 1200
let before = ''
let forget: ReturnType<typeof setTimeout> | undefined

/** Whether a key is meant for what has the focus. */
function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches('input:not([type=checkbox]):not([type=radio]), textarea, select, [role="menu"] *'))
}

/** Do what the pressed keys mean, from anywhere but fields and dialogs. */
export function listenForKeys(): () => void {
  const press = (event: KeyboardEvent) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return
    // What stands in a shadow root is told as its host.
    if (typing(event.composedPath()[0] ?? null) || document.querySelector('dialog[open]')) return
    const pressed = before ? `${before} ${event.key}` : event.key
    clearTimeout(forget)
    before = ''
    // The last one that was offered wins: a page over the frame.
    const found = flat.findLast((command) => command.keys === pressed)
    if (found) {
      event.preventDefault()
      found.run()
    } else if (flat.some((command) => command.keys?.startsWith(`${pressed} `))) {
      before = pressed
      forget = setTimeout(() => {
        before = ''
      }, AFTER_MS)
    }
  }
  document.addEventListener('keydown', press)
  return () => document.removeEventListener('keydown', press)
}
