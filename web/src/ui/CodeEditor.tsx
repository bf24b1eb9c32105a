import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands'
import { bracketMatching, HighlightStyle, indentOnInput, syntaxHighlighting } from '@codemirror/language'
import { highlightSelectionMatches, search, searchKeymap } from '@codemirror/search'
import { Compartment, EditorState, type Extension } from '@codemirror/state'
import { EditorView, highlightActiveLine, highlightSpecialChars, keymap, lineNumbers } from '@codemirror/view'
import { tags } from '@lezer/highlight'
import { useEffect, useRef } from 'react'
import { isProse, languageOf } from './languages'

interface Props {
  label: string
  /** Its name tells the language. */
  path: string
  value: string
  onChange: (text: string) => void
  /** Ctrl S. */
  onSave: () => void
  /** Escape: the keyboard goes on behind the text. */
  onLeave: () => void
}

const LOOK = EditorView.theme({
  '&': { minHeight: 'var(--editor-least, 50vh)', maxHeight: '70vh', fontSize: '0.875rem', backgroundColor: 'var(--panel)', color: 'var(--text)' },
  '&.cm-focused': { outline: '2px solid var(--accent)', outlineOffset: '-2px' },
  '.cm-scroller': { fontFamily: 'var(--font-mono)', lineHeight: '1.55', overflow: 'auto' },
  '.cm-content': { padding: '0.6rem 0', caretColor: 'var(--text)' },
  '.cm-line': { padding: '0 0.8rem' },
  '.cm-gutters': { backgroundColor: 'var(--panel)', color: 'var(--muted)', border: 'none' },
  '.cm-activeLine': { backgroundColor: 'color-mix(in srgb, var(--raised) 55%, transparent)' },
  '.cm-selectionMatch, &.cm-focused .cm-matchingBracket': { backgroundColor: 'var(--raised)', outline: '1px solid var(--edge)' },
  '.cm-searchMatch': { backgroundColor: 'var(--raised)', outline: '1px solid var(--warn)' },
  '.cm-searchMatch-selected': { backgroundColor: 'var(--accent)', color: 'var(--on-accent)' },
  '.cm-specialChar': { color: 'var(--bad)' },
  '.cm-panels': { backgroundColor: 'var(--raised)', color: 'var(--text)' },
  '.cm-panel.cm-search': { padding: '0.4rem' },
  '.cm-textfield': { backgroundColor: 'var(--panel)', color: 'var(--text)', border: '1px solid var(--edge)', fontSize: 'inherit' },
  '.cm-button': { background: 'var(--panel)', color: 'var(--text)', border: '1px solid var(--edge)', fontSize: 'inherit' },
  '.cm-panel.cm-search [name=close]': { color: 'var(--text)' },
})

// Colours that reach 4.5:1 in light and dark; what is quiet is said by weight and slant as well.
const INK = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier, tags.tagName], color: 'var(--accent)' },
  { tag: [tags.string, tags.special(tags.string), tags.inserted, tags.attributeValue], color: 'var(--good)' },
  { tag: [tags.number, tags.bool, tags.null, tags.atom, tags.propertyName, tags.attributeName], color: 'var(--warn)' },
  { tag: [tags.comment, tags.meta, tags.processingInstruction], color: 'var(--muted)', fontStyle: 'italic' },
  { tag: [tags.invalid, tags.deleted], color: 'var(--bad)' },
  { tag: tags.heading, fontWeight: '700' },
  { tag: tags.strong, fontWeight: '700' },
  { tag: tags.emphasis, fontStyle: 'italic' },
  { tag: tags.strikethrough, textDecoration: 'line-through' },
  { tag: [tags.link, tags.url], color: 'var(--accent)', textDecoration: 'underline' },
  { tag: [tags.function(tags.definition(tags.variableName)), tags.className, tags.typeName], fontWeight: '600' },
])

/** What is typed over a selection, or has several lines: the browser would write styles of its own, which the policy of the page blocks. */
const TYPED_OVER = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const text = event.data ?? ''
    if (event.inputType !== 'insertText' || event.isComposing || (view.state.selection.main.empty && !text.includes('\n'))) return false
    view.dispatch(view.state.update(view.state.replaceSelection(text), { userEvent: 'input.type', scrollIntoView: true }))
    return true
  },
})

const ALWAYS: Extension = [
  TYPED_OVER,
  LOOK,
  syntaxHighlighting(INK),
  history(),
  search({ top: true }),
  highlightSelectionMatches(),
  highlightSpecialChars({ addSpecialChars: /[\u202a-\u202c\u2060-\u2065\u2068\u206a-\u206f]/g }),
  highlightActiveLine(),
  bracketMatching(),
  indentOnInput(),
  EditorView.lineWrapping,
]

/**
 * A text to be written in, with the colours of its language. Tab indents; Escape leaves it.
 *
 * It stands in a shadow root: there its styles are constructed sheets, which the policy of the page allows, and not
 * style elements, which it does not.
 */
export default function CodeEditor({ label, path, value, onChange, onSave, onLeave }: Props) {
  const host = useRef<HTMLDivElement>(null)
  const view = useRef<EditorView | null>(null)
  const told = useRef({ onChange, onSave, onLeave })
  const first = useRef(value)
  useEffect(() => {
    told.current = { onChange, onSave, onLeave }
    first.current = value
  })
  useEffect(() => {
    const box = host.current
    if (!box) return
    const root = box.shadowRoot ?? box.attachShadow({ mode: 'open' })
    const language = new Compartment()
    const made = new EditorView({ parent: root, root, state: stateOf(first.current, path, label, told, language) })
    view.current = made
    let gone = false
    void languageOf(path).then((found) => gone || made.dispatch({ effects: language.reconfigure(found) }))
    return () => {
      gone = true
      view.current = null
      made.destroy()
    }
  }, [path, label])
  useEffect(() => {
    const here = view.current
    if (here && here.state.sliceDoc() !== value) here.dispatch({ changes: { from: 0, to: here.state.doc.length, insert: here.state.toText(value) } })
  }, [value])
  return <div ref={host} className="overflow-hidden rounded-md border border-edge" />
}

function stateOf(text: string, path: string, label: string, told: { current: Pick<Props, 'onChange' | 'onSave' | 'onLeave'> }, language: Compartment): EditorState {
  const act = (run: () => void) => () => {
    run()
    return true
  }
  return EditorState.create({
    doc: text,
    extensions: [
      EditorState.lineSeparator.of(text.includes('\r\n') ? '\r\n' : '\n'), // nothing that was not touched is changed
      keymap.of([{ key: 'Mod-s', preventDefault: true, run: act(() => told.current.onSave()) }]),
      keymap.of([...searchKeymap, ...defaultKeymap, ...historyKeymap, indentWithTab, { key: 'Escape', run: act(() => told.current.onLeave()) }]),
      ALWAYS,
      isProse(path) ? [] : lineNumbers(),
      language.of([]),
      EditorView.contentAttributes.of({ 'aria-label': label, spellcheck: isProse(path) ? 'true' : 'false', autocapitalize: 'off' }),
      EditorView.updateListener.of((update) => {
        if (update.docChanged) told.current.onChange(update.state.sliceDoc())
      }),
    ],
  })
}
