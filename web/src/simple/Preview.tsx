import { lexer, type Token, type Tokens } from 'marked'
import { Fragment, type ReactNode } from 'react'
import { harmless } from '../ui/plain'

/**
 * Markdown as a page. Its tokens become elements one by one: HTML in it is shown as the text it is, links lead only to
 * the web, and pictures of other places are not fetched.
 */
export default function Preview({ text }: { text: string }) {
  return (
    <article aria-label="Preview" className="flex min-h-[50vh] flex-col gap-3 rounded-md border border-line bg-panel p-4">
      {blocks(lexer(text.slice(0, 500_000)))}
    </article>
  )
}

const blocks = (tokens: readonly Token[]): ReactNode[] => tokens.map((token, at) => <Fragment key={`${at}:${token.type}`}>{block(token)}</Fragment>)
const inside = (token: { tokens?: Token[] | undefined; text?: string }): ReactNode => (token.tokens ? token.tokens.map((one, at) => <Fragment key={`${at}:${one.type}`}>{inline(one)}</Fragment>) : harmless(token.text ?? ''))

const HEADS = ['text-xl font-semibold', 'text-lg font-semibold', 'font-semibold', 'font-semibold', 'font-medium', 'font-medium']

function block(token: Token): ReactNode {
  switch (token.type) {
    case 'heading': {
      const head = token as Tokens.Heading
      // The page has its own heading above: those of the text come below it.
      return (
        <div role="heading" aria-level={Math.min(head.depth + 2, 6)} className={HEADS[head.depth - 1] ?? ''}>
          {inside(head)}
        </div>
      )
    }
    case 'paragraph':
    case 'text':
      return <p className="whitespace-pre-line">{inside(token as Tokens.Paragraph)}</p>
    case 'code':
      return (
        <pre tabIndex={0} className="overflow-x-auto rounded bg-raised p-3 font-mono text-sm">
          {lines((token as Tokens.Code).text)}
        </pre>
      )
    case 'blockquote':
      return <blockquote className="border-l-4 border-line pl-3 text-muted">{blocks((token as Tokens.Blockquote).tokens)}</blockquote>
    case 'list':
      return <List list={token as Tokens.List} />
    case 'table':
      return <Grid table={token as Tokens.Table} />
    case 'hr':
      return <hr className="border-line" />
    case 'space':
    case 'def':
      return null
    default:
      return <p className="font-mono text-sm">{lines(token.raw)}</p>
  }
}

const lines = (text: string): string => text.split('\n').map(harmless).join('\n')

function List({ list }: { list: Tokens.List }) {
  const Kind = list.ordered ? 'ol' : 'ul'
  return (
    <Kind className={`pl-6 ${list.ordered ? 'list-decimal' : 'list-disc'}`} {...(list.ordered && typeof list.start === 'number' ? { start: list.start } : {})}>
      {list.items.map((item, at) => (
        <li key={`${at}:${item.raw.length}`}>
          {item.task && (item.checked ? '☑ ' : '☐ ')}
          {item.tokens.map((token, place) => (
            <Fragment key={`${place}:${token.type}`}>{token.type === 'text' ? inside(token as Tokens.Text) : token.type === 'checkbox' ? null : block(token)}</Fragment>
          ))}
        </li>
      ))}
    </Kind>
  )
}

function Grid({ table }: { table: Tokens.Table }) {
  return (
    <div className="overflow-x-auto" role="region" aria-label="Table" tabIndex={0}>
      <table className="border-collapse">
        <thead>
          <tr>
            {table.header.map((cell, at) => (
              <th key={`${at}:${cell.text}`} className="border border-line bg-raised px-2 py-1 text-left">
                {inside(cell)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.rows.map((row, at) => (
            <tr key={`${at}:${row.length}`}>
              {row.map((cell, place) => (
                <td key={`${place}:${cell.text}`} className="border border-line px-2 py-1">
                  {inside(cell)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function inline(token: Token): ReactNode {
  switch (token.type) {
    case 'strong':
      return <strong>{inside(token as Tokens.Strong)}</strong>
    case 'em':
      return <em>{inside(token as Tokens.Em)}</em>
    case 'del':
      return <del>{inside(token as Tokens.Del)}</del>
    case 'codespan':
      return <code className="rounded bg-raised px-1 font-mono text-sm">{harmless((token as Tokens.Codespan).text)}</code>
    case 'br':
      return <br />
    case 'link':
      return <Leads link={token as Tokens.Link} />
    case 'image':
      return <span className="text-muted">[picture: {harmless((token as Tokens.Image).text)}]</span>
    case 'escape':
    case 'text':
      return inside(token as Tokens.Text)
    default:
      return lines(token.raw)
  }
}

/** A link that leads where it says: to the web, in a tab of its own that learns nothing of this one. */
function Leads({ link }: { link: Tokens.Link }) {
  if (!/^https?:\/\//i.test(link.href)) return <span className="underline decoration-dotted">{inside(link)}</span>
  return (
    <a href={link.href} title={link.href} target="_blank" rel="noreferrer noopener nofollow" className="text-accent underline">
      {inside(link)}
    </a>
  )
}
