import type { ComponentProps } from 'react'
import { Icon, type IconName } from './Icon'

type Look = 'plain' | 'main' | 'danger' | 'quiet'

const LOOKS: Record<Look, string> = {
  plain: 'border-line bg-panel text-text hover:bg-raised',
  main: 'border-transparent bg-accent text-on-accent hover:opacity-90',
  danger: 'border-bad bg-panel text-bad hover:bg-raised',
  quiet: 'border-transparent bg-transparent text-text hover:bg-raised',
}

/** How a button looks, for links that stand where a button would. */
export const buttonClass = (look: Look = 'plain', small = false): string =>
  `inline-flex items-center justify-center gap-2 rounded-md border font-medium whitespace-nowrap select-none aria-pressed:border-accent aria-pressed:text-accent disabled:opacity-55 disabled:cursor-not-allowed ${small ? 'px-2 py-0.5 text-sm min-h-7' : 'px-3 py-1.5 min-h-9'} ${LOOKS[look]}`

interface Props extends ComponentProps<'button'> {
  look?: Look
  small?: boolean
  icon?: IconName
  /** Something is under way: the button says so and takes no second press. */
  busy?: boolean
}

export function Button({ look = 'plain', small = false, icon, busy = false, className = '', children, disabled, ...rest }: Props) {
  return (
    <button type="button" {...rest} disabled={disabled || busy} aria-busy={busy || undefined} className={`${buttonClass(look, small)} ${className}`}>
      {busy ? <Icon name="spin" className="animate-spin" /> : icon && <Icon name={icon} />}
      {children}
    </button>
  )
}

/** A button that is an icon: its label is read aloud and shown as a tip. */
export function IconButton({ icon, label, className = '', ...rest }: ComponentProps<'button'> & { icon: IconName; label: string }) {
  return (
    <button type="button" aria-label={label} title={label} {...rest} className={`inline-flex size-9 items-center justify-center rounded-md text-muted hover:bg-raised hover:text-text ${className}`}>
      <Icon name={icon} />
    </button>
  )
}
