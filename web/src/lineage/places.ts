import type { Node } from './layers'

const KINDS: Record<Node['kind'], string> = {
  app: 'app', artifact: 'artifact', code: 'code', dataset: 'dataset', deployment: 'deployment', endpoint: 'endpoint',
  experiment_run: 'run of an experiment', model: 'model', run: 'run', session: 'session',
}

export const kindWord = (kind: Node['kind']): string => KINDS[kind] ?? kind

/** Where the console shows a thing; nothing where it has no page of its own. */
export function pageOf(node: Node): { to: string; params?: Record<string, string>; search?: Record<string, unknown> } | null {
  const { id, name } = node
  switch (node.kind) {
    case 'app':
      return { to: '/apps/$id', params: { id } }
    case 'dataset':
      return { to: '/datasets/$id', params: { id } }
    case 'deployment':
      return { to: '/deployments/$id', params: { id } }
    case 'endpoint':
      return { to: '/endpoints/$id', params: { id } }
    case 'experiment_run':
      return { to: '/experiment-runs/$id', params: { id } }
    case 'run':
      return { to: '/runs/$id', params: { id } }
    case 'session':
      return { to: '/sessions/$id', params: { id } }
    case 'model': {
      const parts = /^(.+)@(\d+)$/.exec(name)
      return parts?.[1] ? { to: '/models/$name', params: { name: parts[1] }, search: { version: Number(parts[2]) } } : null
    }
    default:
      return null
  }
}

export const stepsWord = (depth: number): string => (depth === 0 ? 'this' : `${Math.abs(depth)} ${Math.abs(depth) === 1 ? 'step' : 'steps'} ${depth < 0 ? 'before' : 'after'}`)
