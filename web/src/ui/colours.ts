import { highlightTree, tagHighlighter, tags } from '@lezer/highlight'
import type { DiffLine } from './diffs'
import { parserOf, type Parser } from './languages'

/** A piece of a line in one colour. */
export interface Piece {
  text: string
  look: string
}

export type Inked = ReadonlyMap<DiffLine, readonly Piece[]>

const MOST_LINES = 4000
const MOST_CHARACTERS = 400
// The colours of the editor: 4.5:1 on what was added and what was removed, in light and dark.
const INK = tagHighlighter([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier, tags.tagName], class: 'text-accent' },
  { tag: [tags.string, tags.special(tags.string), tags.attributeValue], class: 'text-good' },
  { tag: [tags.number, tags.bool, tags.null, tags.atom, tags.propertyName, tags.attributeName], class: 'text-warn' },
  { tag: [tags.comment, tags.meta, tags.processingInstruction], class: 'text-muted italic' },
  { tag: [tags.heading, tags.strong, tags.className, tags.typeName], class: 'font-semibold' },
  { tag: tags.emphasis, class: 'italic' },
])

/** The colours of a file's lines; none for a language that is not known, or a file so long that it would be felt. */
export async function inked(path: string, lines: readonly DiffLine[]): Promise<Inked> {
  const found = new Map<DiffLine, readonly Piece[]>()
  const parser = lines.length <= MOST_LINES ? await parserOf(path) : null
  if (parser === null) return found
  for (const hunk of hunksOf(lines)) {
    // A line that stayed is coloured as what stands there now.
    ink(parser, hunk.filter((line) => line.kind === 'same' || line.kind === 'deleted'), found)
    ink(parser, hunk.filter((line) => line.kind === 'same' || line.kind === 'added'), found)
  }
  return found
}

function hunksOf(lines: readonly DiffLine[]): DiffLine[][] {
  const found: DiffLine[][] = []
  for (const line of lines) {
    if (line.kind === 'hunk') found.push([])
    else found.at(-1)?.push(line)
  }
  return found
}

function ink(parser: Parser, lines: readonly DiffLine[], found: Map<DiffLine, readonly Piece[]>): void {
  const texts = lines.map((line) => (line.text.length > MOST_CHARACTERS ? '' : line.text))
  const whole = texts.join('\n')
  const marks: [from: number, to: number, look: string][] = []
  highlightTree(parser.parse(whole), INK, (from, to, look) => marks.push([from, to, look]))
  let at = 0
  let next = 0
  for (const [n, line] of lines.entries()) {
    const text = texts[n] ?? ''
    const pieces: Piece[] = []
    let done = 0
    while (next < marks.length && (marks[next]?.[1] ?? 0) <= at) next++
    for (let m = next; m < marks.length; m++) {
      const [from, to, look] = marks[m] ?? [0, 0, '']
      if (from >= at + text.length) break
      const [begin, end] = [Math.max(0, from - at), Math.min(text.length, to - at)]
      if (begin > done) pieces.push({ text: text.slice(done, begin), look: '' })
      if (end > begin) pieces.push({ text: text.slice(begin, end), look })
      done = Math.max(done, end)
    }
    if (pieces.length > 0) found.set(line, [...pieces, { text: text.slice(done), look: '' }])
    at += text.length + 1
  }
}
