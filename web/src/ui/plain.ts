/** Text of strangers, so that it can be shown: nothing in it turns a line around, moves a cursor or breaks the layout. */

const CUT = 2000
// C0 but tab, DEL, C1, and the marks that turn text around or hide in it (Unicode TR 36, "Trojan Source").
// oxlint-disable-next-line no-control-regex
const HIDDEN = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g
// oxlint-disable-next-line no-control-regex
const LOUD = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/

function named(mark: string): string {
  const code = mark.charCodeAt(0)
  if (code < 0x20) return String.fromCharCode(0x2400 + code)
  if (code === 0x7f) return '\u2421'
  return `⟨U+${code.toString(16).toUpperCase().padStart(4, '0')}⟩`
}

/** Controls and marks that turn text around, made visible. */
export const harmless = (text: string): string => (LOUD.test(text) ? text.replace(HIDDEN, named) : text)

/** A line of any length as it is shown: harmless, and cut before the browser has to lay it out. */
export function shownLine(text: string, most = CUT): string {
  if (text.length <= most) return harmless(text)
  // Not a piece of the long one, which would keep all of it in memory.
  return `${harmless(text.slice(0, most))} … ${text.length.toLocaleString('en')} characters`
}

/** A piece of a line in one look of a terminal. */
export interface Span {
  text: string
  look: string
}

const INK = ['text-muted', 'text-bad', 'text-good', 'text-warn', 'text-accent', 'text-accent', 'text-accent', '']
// oxlint-disable-next-line no-control-regex
const STYLE = /\u001b\[([0-9;]*)m/g
// oxlint-disable-next-line no-control-regex
const COMMAND = /\u001b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[ -/]*[0-~])/g

/** A line of a log, its colours as classes; other commands to terminals are dropped. */
export function spansOf(line: string, most = CUT): Span[] {
  if (!line.includes('\u001b')) return [{ text: shownLine(line, most), look: '' }]
  const found: Span[] = []
  const state = { ink: '', bold: false }
  let last = 0
  let room = most
  const put = (raw: string) => {
    const text = raw.replace(COMMAND, '').slice(0, Math.max(0, room))
    room -= text.length
    if (text) found.push({ text: harmless(text), look: `${state.ink}${state.bold ? ' font-bold' : ''}` })
  }
  for (const match of line.matchAll(STYLE)) {
    put(line.slice(last, match.index))
    last = match.index + match[0].length
    restyle(state, match[1] ?? '')
  }
  put(line.slice(last))
  if (room <= 0) found.push({ text: ` … ${line.length.toLocaleString('en')} characters`, look: 'text-muted' })
  return found
}

function restyle(state: { ink: string; bold: boolean }, codes: string): void {
  for (const code of codes.split(';').map(Number)) {
    if (code === 0) Object.assign(state, { ink: '', bold: false })
    else if (code === 1) state.bold = true
    else if (code === 22) state.bold = false
    else if (code === 39) state.ink = ''
    else if (code >= 30 && code <= 37) state.ink = INK[code - 30] ?? ''
    else if (code >= 90 && code <= 97) state.ink = INK[code - 90] ?? ''
  }
}
