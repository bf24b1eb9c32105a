interface Bar {
  name: string
  value: number
}

/** Amounts beside each other. Each bar says its exact value, to the eye as a tip and to readers of the screen as text. */
export function Bars({ label, of, unit = '' }: { label: string; of: readonly Bar[]; unit?: string }) {
  const most = Math.max(1, ...of.map((bar) => bar.value))
  const wide = 100 / Math.max(1, of.length)
  return (
    <figure className="flex flex-col gap-1">
      <figcaption className="text-sm font-medium">{label}</figcaption>
      <svg role="img" aria-label={`${label}: ${of.map((bar) => `${bar.name} ${bar.value.toLocaleString('en')}${unit}`).join(', ').slice(0, 2000)}`} viewBox="0 0 100 30" preserveAspectRatio="none" className="h-28 w-full rounded-md border border-line bg-panel">
        {of.map((bar, n) => {
          const high = (bar.value / most) * 28
          return (
            <rect key={bar.name} x={n * wide + wide * 0.1} y={30 - high} width={wide * 0.8} height={high} className="fill-accent hover:opacity-70">
              <title>{`${bar.name}: ${bar.value.toLocaleString('en')}${unit}`}</title>
            </rect>
          )
        })}
      </svg>
      <div className="flex justify-between text-sm text-muted">
        <span>{of[0]?.name}</span>
        <span>{of.length > 1 ? of.at(-1)?.name : ''}</span>
      </div>
    </figure>
  )
}
