import type { Schemas } from '../api/client'

export type Graph = Schemas['LineageGraph']
export type Node = Graph['nodes'][number]

export const WIDE = 190
export const HIGH = 46
export const GAP_X = 70
export const GAP_Y = 14
/** Of one layer at first; the rest unfolds. */
export const MOST = 12

export interface Placed {
  node: Node
  x: number
  y: number
}

export interface Layer {
  depth: number
  nodes: Node[]
  /** How many are folded away. */
  hidden: number
  x: number
}

/** Nodes in columns by how many steps they lie away; within one, those that belong together stand near one another. */
export function layersOf(graph: Graph, open: ReadonlySet<number>): Layer[] {
  const by = new Map<number, Node[]>()
  for (const node of graph.nodes) by.set(node.depth, [...(by.get(node.depth) ?? []), node])
  const depths = [...by.keys()].sort((one, other) => one - other)
  const rank = new Map<string, number>()
  const near = neighboursOf(graph)
  // From the middle outwards, so that each layer is ordered by the one that is already.
  for (const depth of [...depths].sort((one, other) => Math.abs(one) - Math.abs(other))) {
    const mean = (node: Node): number => {
      const known = (near.get(node.id) ?? []).flatMap((id) => rank.get(id) ?? [])
      return known.length === 0 ? 1e6 : known.reduce((sum, one) => sum + one, 0) / known.length
    }
    const sorted = (by.get(depth) ?? []).map((node) => [mean(node), node] as const).sort((one, other) => one[0] - other[0] || (one[1].name < other[1].name ? -1 : 1))
    by.set(depth, sorted.map(([, node]) => node))
    sorted.forEach(([, node], n) => rank.set(node.id, n))
  }
  return depths.map((depth, n) => {
    const all = by.get(depth) ?? []
    const shown = open.has(depth) ? all : all.slice(0, MOST)
    return { depth, nodes: shown, hidden: all.length - shown.length, x: n * (WIDE + GAP_X) }
  })
}

function neighboursOf(graph: Graph): Map<string, string[]> {
  const near = new Map<string, string[]>()
  const add = (from: string, to: string) => {
    const known = near.get(from)
    if (known) known.push(to)
    else near.set(from, [to])
  }
  for (const edge of graph.edges) {
    add(edge.source, edge.target)
    add(edge.target, edge.source)
  }
  return near
}

/** Where each node of the layers is drawn, each layer in the middle of the height. */
export function placesOf(layers: readonly Layer[]): { placed: Map<string, Placed>; width: number; height: number } {
  const rows = Math.max(1, ...layers.map((layer) => layer.nodes.length + (layer.hidden > 0 ? 1 : 0)))
  const height = rows * (HIGH + GAP_Y) - GAP_Y
  const placed = new Map<string, Placed>()
  for (const layer of layers) {
    const own = (layer.nodes.length + (layer.hidden > 0 ? 1 : 0)) * (HIGH + GAP_Y) - GAP_Y
    layer.nodes.forEach((node, n) => placed.set(node.id, { node, x: layer.x, y: (height - own) / 2 + n * (HIGH + GAP_Y) }))
  }
  return { placed, width: layers.length * (WIDE + GAP_X) - GAP_X, height }
}

/** All edges as one path: from the right side of the source to the left side of the target. */
export function wiresOf(graph: Graph, placed: ReadonlyMap<string, Placed>, touching?: string): string {
  let path = ''
  for (const edge of graph.edges) {
    if (touching !== undefined && edge.source !== touching && edge.target !== touching) continue
    const [from, to] = [placed.get(edge.source), placed.get(edge.target)]
    if (!from || !to) continue
    const [x1, y1, x2, y2] = [from.x + WIDE, from.y + HIGH / 2, to.x, to.y + HIGH / 2]
    const bend = Math.max(30, Math.abs(x2 - x1) / 2)
    path += `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`
  }
  return path
}

/** The node that an arrow key leads to. */
export function toward(key: string, here: string, graph: Graph, layers: readonly Layer[], placed: ReadonlyMap<string, Placed>): string | undefined {
  const layer = layers.find((one) => one.nodes.some((node) => node.id === here))
  if (!layer) return undefined
  const at = layer.nodes.findIndex((node) => node.id === here)
  if (key === 'ArrowUp' || key === 'ArrowDown') return layer.nodes[at + (key === 'ArrowUp' ? -1 : 1)]?.id
  if (key !== 'ArrowLeft' && key !== 'ArrowRight') return undefined
  const left = key === 'ArrowLeft'
  const wired = graph.edges.flatMap((edge) => (left && edge.target === here ? [edge.source] : !left && edge.source === here ? [edge.target] : [])).filter((id) => placed.has(id))
  const y = placed.get(here)?.y ?? 0
  return wired.sort((one, other) => Math.abs((placed.get(one)?.y ?? 0) - y) - Math.abs((placed.get(other)?.y ?? 0) - y))[0]
}
