import { useEffect, useReducer, useRef } from 'react'
import type { Inked, Piece } from './colours'
import type { DiffLine, FileDiff } from './diffs'

const done = new WeakMap<FileDiff, Inked | 'asked'>()

/** The colours of lines that are in sight. They come after the text, with what reads the language, and nothing waits for them. */
export function useInk(seen: readonly FileDiff[]): (file: FileDiff, line: DiffLine) => readonly Piece[] | undefined {
  const [, again] = useReducer((n: number) => n + 1, 0)
  const here = useRef(false)
  useEffect(() => {
    here.current = true
    return () => {
      here.current = false
    }
  }, [])
  useEffect(() => {
    for (const file of new Set(seen)) if (!done.has(file)) void color(file).then(() => here.current && again())
  })
  return (file, line) => {
    const found = done.get(file)
    return found === 'asked' ? undefined : found?.get(line)
  }
}

async function color(file: FileDiff): Promise<void> {
  done.set(file, 'asked')
  try {
    const { inked } = await import('./colours')
    done.set(file, await inked(file.path, file.lines))
  } catch {
    done.delete(file) // without a network, in plain ink; the next look tries again
  }
}
