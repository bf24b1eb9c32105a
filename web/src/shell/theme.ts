import { useSyncExternalStore } from 'react'

export type Theme = 'system' | 'light' | 'dark'

const KEPT = 'builderos.theme'
const heard = new Set<() => void>()

function kept(): Theme {
  const found = localStorage.getItem(KEPT)
  return found === 'light' || found === 'dark' ? found : 'system'
}

let now: Theme = kept()

function show(): void {
  if (now === 'system') document.documentElement.removeAttribute('data-theme')
  else document.documentElement.dataset.theme = now
}

/** Before the first paint of a page. */
export const applyTheme = show

export function setTheme(theme: Theme): void {
  now = theme
  if (theme === 'system') localStorage.removeItem(KEPT)
  else localStorage.setItem(KEPT, theme)
  show()
  for (const listener of heard) listener()
}

export function useTheme(): Theme {
  return useSyncExternalStore(
    (listener) => {
      heard.add(listener)
      return () => heard.delete(listener)
    },
    () => now,
  )
}
