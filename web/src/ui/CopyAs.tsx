import { Icon } from './Icon'
import { Menu } from './Menu'
import { buttonClass } from './Button'
import { toast } from './toasts'

export interface Call {
  /** As it is typed, e.g. `builderos run show run_…`. */
  cli: string
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** With its query. */
  path: string
  body?: Record<string, unknown>
  /** The tool of the MCP server, where there is one: the operation's name, e.g. `showRun`, and its arguments. */
  mcp?: { name: string; arguments: Record<string, unknown> }
}

const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`

/** The call as curl sends it; the token is a variable of the shell, never a part of the text. */
export function curl({ method, path, body }: Pick<Call, 'method' | 'path' | 'body'>): string {
  const parts = ['curl -sS', ...(method === 'GET' ? [] : [`-X ${method}`]), quoted(location.origin + path), '-H "Authorization: Bearer $BUILDEROS_TOKEN"']
  if (body) parts.push("-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(body))}`)
  return parts.join(' ')
}

/** The same thing for a terminal, a script or a model: copies the call that the page makes. */
export function CopyAs({ call }: { call: Call }) {
  const put = (what: string, text: string) => () =>
    void navigator.clipboard.writeText(text).then(
      () => toast(`Copied as ${what}.`),
      () => toast('The browser did not let the page copy.', { tone: 'bad' }),
    )
  const items = [
    { label: 'Command line', below: call.cli, run: put('command line', call.cli) },
    { label: 'HTTP', below: `${call.method} ${call.path}`, run: put('HTTP', curl(call)) },
    ...(call.mcp ? [{ label: 'MCP', below: call.mcp.name, run: put('MCP call', JSON.stringify(call.mcp, null, 2)) }] : []),
  ]
  return (
    <Menu
      label="Copy as"
      align="end"
      className={buttonClass('plain', true)}
      items={items}
      button={
        <>
          <Icon name="copy" /> Copy as
        </>
      }
    />
  )
}
