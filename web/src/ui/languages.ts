import { Language, LanguageSupport, StreamLanguage, type StreamParser } from '@codemirror/language'
import type { Extension } from '@codemirror/state'

type Load = () => Promise<Extension>

const streamed = (load: () => Promise<StreamParser<unknown>>): Load => async () => StreamLanguage.define(await load())
const script: Load = () => import('@codemirror/lang-javascript').then((lang) => lang.javascript({ jsx: true }))
const typed: Load = () => import('@codemirror/lang-javascript').then((lang) => lang.javascript({ jsx: true, typescript: true }))
const words: Load = () => import('@codemirror/lang-markdown').then((lang) => lang.markdown())
const page: Load = () => import('@codemirror/lang-html').then((lang) => lang.html())
const yaml: Load = () => import('@codemirror/lang-yaml').then((lang) => lang.yaml())
const shell = streamed(() => import('@codemirror/legacy-modes/mode/shell').then((mode) => mode.shell))

const BY_ENDING: Record<string, Load> = {
  md: words, markdown: words,
  js: script, mjs: script, cjs: script, jsx: script,
  ts: typed, mts: typed, cts: typed, tsx: typed,
  py: () => import('@codemirror/lang-python').then((lang) => lang.python()),
  json: () => import('@codemirror/lang-json').then((lang) => lang.json()),
  html: page, htm: page, vue: page, svelte: page,
  css: () => import('@codemirror/lang-css').then((lang) => lang.css()),
  yaml, yml: yaml,
  sh: shell, bash: shell,
  toml: streamed(() => import('@codemirror/legacy-modes/mode/toml').then((mode) => mode.toml)),
  sql: streamed(() => import('@codemirror/legacy-modes/mode/sql').then((mode) => mode.standardSQL)),
  rs: streamed(() => import('@codemirror/legacy-modes/mode/rust').then((mode) => mode.rust)),
  go: streamed(() => import('@codemirror/legacy-modes/mode/go').then((mode) => mode.go)),
  dockerfile: streamed(() => import('@codemirror/legacy-modes/mode/dockerfile').then((mode) => mode.dockerFile)),
}

const endingOf = (path: string): string => path.slice(Math.max(path.lastIndexOf('.'), path.lastIndexOf('/')) + 1).toLowerCase()

/** The colours of a file's language, loaded when they are wanted; none for one that is not known. */
export async function languageOf(path: string): Promise<Extension> {
  const load = Object.hasOwn(BY_ENDING, endingOf(path)) ? BY_ENDING[endingOf(path)] : undefined
  return load ? load() : []
}

export type Parser = Language['parser']

/** What reads the language of a file, for texts that are only shown; null for one that is not known. */
export async function parserOf(path: string): Promise<Parser | null> {
  const found = await languageOf(path)
  if (found instanceof LanguageSupport) return found.language.parser
  return found instanceof Language ? found.parser : null
}

/** Whether a file is read rather than run: it has no line numbers, and its spelling is looked at. */
export const isProse = (path: string): boolean => ['md', 'markdown', 'txt', 'rst'].includes(endingOf(path))
