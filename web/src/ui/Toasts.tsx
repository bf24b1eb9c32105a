import { Button, IconButton } from './Button'
import { Icon } from './Icon'
import { putAway, useToasts } from './toasts'

const LOOKS = { good: ['approvals', 'text-good'], bad: ['warn', 'text-bad'], calm: ['why', 'text-muted'] } as const

/** Where toasts appear; it is always there, so that readers of the screen hear what comes. */
export function Toasts() {
  const toasts = useToasts()
  return (
    <div role="status" aria-live="polite" className="pointer-events-none fixed right-3 bottom-3 z-30 flex w-[min(24rem,calc(100vw-1.5rem))] flex-col gap-2">
      {toasts.map((one) => (
        <div key={one.id} className="pointer-events-auto flex items-start gap-2 rounded-lg border border-line bg-panel p-3 shadow-lg">
          <Icon name={LOOKS[one.tone][0]} className={`mt-1 ${LOOKS[one.tone][1]}`} />
          <p className="min-w-0 grow">{one.text}</p>
          {one.act && (
            <Button
              small
              onClick={() => {
                one.act?.run()
                putAway(one.id)
              }}
            >
              {one.act.label}
            </Button>
          )}
          <IconButton icon="close" label="Put away" className="-m-2" onClick={() => putAway(one.id)} />
        </div>
      ))}
    </div>
  )
}
