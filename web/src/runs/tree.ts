/** A line of a folded tree: a folder with what is in it, or a file. */
export type Branch<T> = { kind: 'folder'; path: string; name: string; deep: number; files: number; open: boolean } | { kind: 'file'; name: string; deep: number; of: T }

interface Folder<T> {
  folders: Map<string, Folder<T>>
  files: { name: string; of: T }[]
  count: number
}

const empty = <T>(): Folder<T> => ({ folders: new Map(), files: [], count: 0 })

/** Things with paths as the lines of a tree: folders first, by name; what lies in those of `shut` is left out. */
export function treeOf<T extends { path: string }>(all: readonly T[], shut: ReadonlySet<string>): Branch<T>[] {
  const top = empty<T>()
  for (const one of all) {
    const parts = one.path.split('/')
    const name = parts.pop() ?? ''
    let here = top
    for (const part of parts) {
      let inner = here.folders.get(part)
      if (!inner) here.folders.set(part, (inner = empty()))
      inner.count++
      here = inner
    }
    here.files.push({ name, of: one })
  }
  const lines: Branch<T>[] = []
  lay(top, '', 0, shut, lines)
  return lines
}

const byName = (one: { name: string }, other: { name: string }): number => (one.name < other.name ? -1 : one.name > other.name ? 1 : 0)

function lay<T>(folder: Folder<T>, above: string, deep: number, shut: ReadonlySet<string>, lines: Branch<T>[]): void {
  const inner = [...folder.folders].map(([name, of]) => ({ name, of })).sort(byName)
  for (const { name, of } of inner) {
    // Folders that hold only one folder stand in one line.
    let [shown, at, path] = [name, of, above + name]
    for (let only = at.folders.entries().next().value; at.files.length === 0 && at.folders.size === 1 && only; only = at.folders.entries().next().value) {
      shown += `/${only[0]}`
      path += `/${only[0]}`
      at = only[1]
    }
    const open = !shut.has(path)
    lines.push({ kind: 'folder', path, name: shown, deep, files: of.count, open })
    if (open) lay(at, `${path}/`, deep + 1, shut, lines)
  }
  for (const { name, of } of [...folder.files].sort(byName)) lines.push({ kind: 'file', name, deep, of })
}
