import { shownLine } from './plain'

/** One path of a difference, its lines as they are shown. */
export interface FileDiff {
  path: string
  status: 'added' | 'modified' | 'deleted'
  added: number
  deleted: number
  /** Why there are no lines, where there are none. */
  note: string
  lines: readonly DiffLine[]
}

export interface DiffLine {
  kind: 'hunk' | 'same' | 'added' | 'deleted' | 'note'
  old: number | null
  new: number | null
  text: string
}

const HUNK = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@ ?(.*)$/
const KINDS = { '+': 'added', '-': 'deleted', ' ': 'same', '\\': 'note' } as const

/** The lines of one file's hunks, numbered on both sides. Lines of any length are cut here, before anything is laid out. */
export function linesOf(text: string): DiffLine[] {
  const found: DiffLine[] = []
  let left = 0
  let right = 0
  for (const raw of eachLine(text)) {
    const hunk = raw.startsWith('@@') ? HUNK.exec(raw.slice(0, 400)) : null
    if (hunk) {
      left = Number(hunk[1])
      right = Number(hunk[2])
      found.push({ kind: 'hunk', old: null, new: null, text: shownLine(raw, 200) })
      continue
    }
    const kind = KINDS[raw.charAt(0) as '+'] as DiffLine['kind'] | undefined
    if (kind === undefined || left + right === 0) continue // what stands before the first hunk
    const shown = shownLine(raw.slice(1))
    if (kind === 'note') found.push({ kind, old: null, new: null, text: shown })
    else found.push({ kind, old: kind === 'added' ? null : left++, new: kind === 'deleted' ? null : right++, text: shown })
  }
  return found
}

function* eachLine(text: string): Generator<string> {
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at)
    yield text.slice(at, end < 0 ? text.length : end)
    at = end < 0 ? text.length : end + 1
  }
}

const counted = (lines: readonly DiffLine[], kind: DiffLine['kind']): number => lines.reduce((sum, line) => sum + (line.kind === kind ? 1 : 0), 0)

/** A whole unified difference, file by file. */
export function filesOf(text: string): FileDiff[] {
  const starts: number[] = []
  const head = text.startsWith('diff --git ') || text.includes('\ndiff --git ') ? 'diff --git ' : '--- '
  for (let at = text.startsWith(head) ? 0 : text.indexOf(`\n${head}`) + 1; at >= 0 && at < text.length; ) {
    if (!text.startsWith(head, at)) break
    starts.push(at)
    const next = nextHead(text, at, head)
    if (next < 0) break
    at = next
  }
  return starts.map((at, n) => fileOf(text.slice(at, starts[n + 1] ?? text.length)))
}

/** Where the next file begins; a removed line may look like a header, so a header of this kind has both of its lines. */
function nextHead(text: string, at: number, head: string): number {
  for (let next = text.indexOf(`\n${head}`, at); next >= 0; next = text.indexOf(`\n${head}`, next + 1)) {
    if (head !== '--- ') return next + 1
    const below = text.indexOf('\n', next + 1)
    if (text.startsWith('+++ ', below + 1) && text.startsWith('@@ ', text.indexOf('\n', below + 1) + 1)) return next + 1
  }
  return -1
}

function fileOf(text: string): FileDiff {
  const body = text.indexOf('\n@@ ')
  const head = (body < 0 ? text : text.slice(0, body)).slice(0, 8000)
  const line = (start: string): string => head.split('\n').find((one) => one.startsWith(start))?.slice(start.length) ?? ''
  const from = unquoted(line('--- '))
  const to = unquoted(line('+++ '))
  const status = from === '/dev/null' || head.includes('\nnew file') ? 'added' : to === '/dev/null' || head.includes('\ndeleted file') ? 'deleted' : 'modified'
  const named = /^diff --git a\/(.*) b\/(.*)$/m.exec(head)?.[2]
  const path = (status === 'deleted' ? from : to).replace(/^[ab]\//, '') || named || '(no name)'
  const lines = body < 0 ? [] : linesOf(text.slice(body + 1))
  const note = lines.length === 0 ? (/^(Binary|GIT binary)/m.test(head) ? 'Not a text: nothing to show.' : 'No line differs.') : ''
  return { path, status, added: counted(lines, 'added'), deleted: counted(lines, 'deleted'), note, lines }
}

/** A name as git writes it where it holds unusual characters. */
function unquoted(name: string): string {
  const bare = name.replace(/\t.*$/, '')
  if (!bare.startsWith('"')) return bare
  const bytes: number[] = []
  const inner = bare.slice(1, -1)
  for (let at = 0; at < inner.length; at++) {
    const octal = /^\\([0-7]{3})/.exec(inner.slice(at, at + 4))
    if (octal) {
      bytes.push(Number.parseInt(octal[1] ?? '0', 8))
      at += 3
    } else if (inner[at] === '\\') bytes.push((inner[++at] ?? '').charCodeAt(0))
    else bytes.push(...new TextEncoder().encode(inner[at]))
  }
  return new TextDecoder().decode(new Uint8Array(bytes))
}
