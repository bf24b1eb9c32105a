import { useSyncExternalStore } from 'react'

export interface Toast {
  id: number
  text: string
  tone: 'good' | 'bad' | 'calm'
  act?: { label: string; run: () => void }
}

const STAYS_MS = 7000
let shown: readonly Toast[] = []
let next = 1
const heard = new Set<() => void>()

function become(toasts: readonly Toast[]): void {
  shown = toasts
  for (const listener of heard) listener()
}

/** Say something at the edge of the page. What went wrong stays until it is put away. */
export function toast(text: string, more: Partial<Pick<Toast, 'tone' | 'act'>> = {}): void {
  const id = next++
  become([...shown.slice(-3), { id, text, tone: more.tone ?? 'good', ...(more.act ? { act: more.act } : {}) }])
  if (more.tone !== 'bad') setTimeout(() => putAway(id), STAYS_MS)
}

export const putAway = (id: number): void => become(shown.filter((one) => one.id !== id))

export function useToasts(): readonly Toast[] {
  return useSyncExternalStore(
    (listener) => {
      heard.add(listener)
      return () => heard.delete(listener)
    },
    () => shown,
  )
}
