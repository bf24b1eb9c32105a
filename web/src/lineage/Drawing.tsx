import { useNavigate, useRouter } from '@tanstack/react-router'
import { useMemo, useRef, useState, type KeyboardEvent } from 'react'
import { harmless } from '../ui/plain'
import { HIGH, layersOf, placesOf, toward, wiresOf, WIDE, type Graph, type Placed } from './layers'
import { kindWord, pageOf, stepsWord } from './places'

const EDGE = 12
const LETTERS = 24

/**
 * A graph in layers, from left to right. Tab enters it at the thing itself; arrows go along the edges and within a
 * layer; Enter opens. The table below says the same.
 */
export function Drawing({ graph }: { graph: Graph }) {
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set())
  const [here, setHere] = useState(graph.id)
  const box = useRef<SVGSVGElement>(null)
  const layers = useMemo(() => layersOf(graph, open), [graph, open])
  const { placed, width, height } = useMemo(() => placesOf(layers), [layers])
  const wires = useMemo(() => wiresOf(graph, placed), [graph, placed])
  const own = useMemo(() => wiresOf(graph, placed, here), [graph, placed, here])
  const focus = placed.has(here) ? here : (placed.keys().next().value ?? '')
  const press = (event: KeyboardEvent) => {
    const next = toward(event.key, focus, graph, layers, placed)
    if (next === undefined) return
    event.preventDefault()
    setHere(next)
    box.current?.querySelector<SVGElement>(`[data-node="${CSS.escape(next)}"]`)?.focus()
  }
  return (
    <div role="region" aria-label="Lineage as a drawing" tabIndex={0} className="max-h-[70vh] overflow-auto rounded-lg border border-line bg-panel">
      <svg ref={box} role="group" aria-label={`${graph.nodes.length} things, ${graph.edges.length} edges`} width={width + 2 * EDGE} height={height + 2 * EDGE} onKeyDown={press} className="block">
        <g transform={`translate(${EDGE} ${EDGE})`}>
          <path d={wires} fill="none" className="stroke-edge" strokeWidth={1.2} aria-hidden />
          <path d={own} fill="none" className="stroke-accent" strokeWidth={2.2} aria-hidden />
          {[...placed.values()].map((one) => <Box key={one.node.id} of={one} self={one.node.id === graph.id} stop={one.node.id === focus} onHere={setHere} />)}
          {layers.map((layer) => layer.hidden > 0 && <More key={layer.depth} x={layer.x} y={yBehind(layer.nodes.at(-1)?.id, placed)} many={layer.hidden} onOpen={() => setOpen(new Set([...open, layer.depth]))} />)}
        </g>
      </svg>
    </div>
  )
}

const yBehind = (id: string | undefined, placed: ReadonlyMap<string, Placed>): number => (placed.get(id ?? '')?.y ?? 0) + HIGH + 14

const cut = (text: string): string => (text.length > LETTERS ? `${text.slice(0, LETTERS - 1)}…` : text)

function Box({ of: { node, x, y }, self, stop, onHere }: { of: Placed; self: boolean; stop: boolean; onHere: (id: string) => void }) {
  const go = useNavigate()
  const router = useRouter()
  const page = pageOf(node)
  const name = harmless(node.name || node.id)
  return (
    <a
      data-node={node.id}
      href={page ? router.buildLocation(page).href : undefined}
      role="link"
      aria-disabled={page ? undefined : true}
      aria-current={self ? 'true' : undefined}
      aria-description={`${name}, ${stepsWord(node.depth)}`}
      tabIndex={stop ? 0 : -1}
      onFocus={() => onHere(node.id)}
      onPointerEnter={() => onHere(node.id)}
      onClick={(event) => {
        if (!page || event.metaKey || event.ctrlKey) return
        event.preventDefault()
        void go(page)
      }}
    >
      <g>
        <rect x={x} y={y} width={WIDE} height={HIGH} rx={8} strokeWidth={self ? 2.5 : 1.2} className={self ? 'fill-raised stroke-accent' : 'fill-page stroke-edge'} />
        <text x={x + 10} y={y + 18} fontSize={11} className="fill-muted">{`${kindWord(node.kind)} `}</text>
        <text x={x + 10} y={y + 35} fontSize={13} className={page ? 'fill-accent underline' : 'fill-text'}>{cut(name)}</text>
      </g>
    </a>
  )
}

function More({ x, y, many, onOpen }: { x: number; y: number; many: number; onOpen: () => void }) {
  return (
    <g role="button" tabIndex={0} aria-label={`Show ${many} more`} onClick={onOpen} onKeyDown={(event) => (event.key === 'Enter' || event.key === ' ') && onOpen()}>
      <g aria-hidden>
        <rect x={x} y={y} width={WIDE} height={HIGH} rx={8} strokeDasharray="4 4" className="fill-panel stroke-edge" />
        <text x={x + 10} y={y + 28} fontSize={13} className="fill-accent">{many.toLocaleString('en')} more</text>
      </g>
    </g>
  )
}
