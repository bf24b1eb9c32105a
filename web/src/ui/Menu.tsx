import { useEffect, useId, useRef, useState, type KeyboardEvent, type ReactNode } from 'react'
import { Icon, type IconName } from './Icon'

export interface Item {
  label: string
  icon?: IconName
  /** What happens; an entry without it is a heading. */
  run?: () => void
  /** A second, quieter line. */
  below?: ReactNode
  danger?: boolean
  /** For entries of which one is chosen. */
  checked?: boolean
}

interface Props {
  /** What the button says; `icon` alone where `label` is its name. */
  button: ReactNode
  label: string
  items: readonly Item[]
  className?: string
  align?: 'start' | 'end'
}

const GAP = 4

/** A button with a menu: arrows, Home, End, first letters, Esc; it lies above everything and stays on the screen. */
export function Menu({ button, label, items, className = '', align = 'start' }: Props) {
  const [open, setOpen] = useState(false)
  const trigger = useRef<HTMLButtonElement>(null)
  const list = useRef<HTMLDivElement>(null)
  const id = useId()
  const close = (giveBack: boolean) => {
    setOpen(false)
    if (giveBack) trigger.current?.focus()
  }
  useEffect(() => {
    const menu = list.current
    if (!open || !menu || !trigger.current) return
    menu.showPopover()
    place(menu, trigger.current, align)
    entries(menu)[0]?.focus()
    const away = (event: Event) => {
      const at = event.target as Node
      if (!menu.contains(at) && !trigger.current?.contains(at)) setOpen(false)
    }
    const moved = () => setOpen(false)
    document.addEventListener('pointerdown', away)
    window.addEventListener('resize', moved)
    return () => {
      document.removeEventListener('pointerdown', away)
      window.removeEventListener('resize', moved)
    }
  }, [open, align])
  return (
    <>
      <button
        ref={trigger}
        type="button"
        aria-haspopup="menu"
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        aria-label={label}
        title={label}
        className={className}
        onClick={() => setOpen(!open)}
        onKeyDown={(event) => {
          if (event.key !== 'ArrowDown' || open) return
          event.preventDefault()
          setOpen(true)
        }}
      >
        {button}
      </button>
      {open && (
        <div
          ref={list}
          id={id}
          role="menu"
          aria-label={label}
          popover="manual"
          tabIndex={-1}
          onKeyDown={(event) => onKey(event, close)}
          onBlur={(event) => {
            if (event.relatedTarget && !event.currentTarget.contains(event.relatedTarget) && event.relatedTarget !== trigger.current) setOpen(false)
          }}
          className="fixed inset-auto m-0 max-h-[70vh] max-w-[min(26rem,calc(100vw-1rem))] min-w-48 overflow-y-auto rounded-lg border border-line bg-panel p-1 text-text shadow-lg"
        >
          {items.map((item, index) => (item.run ? <Entry key={`${index} ${item.label}`} item={item} run={item.run} close={close} /> : <Heading key={`${index} ${item.label}`} item={item} />))}
        </div>
      )}
    </>
  )
}

function Heading({ item }: { item: Item }) {
  return (
    <div role="presentation" className="px-2.5 pt-2 pb-1 text-sm text-muted">
      {item.label}
      {item.below && <div>{item.below}</div>}
    </div>
  )
}

function Entry({ item, run, close }: { item: Item; run: () => void; close: (giveBack: boolean) => void }) {
  return (
    <button
      type="button"
      role={item.checked === undefined ? 'menuitem' : 'menuitemradio'}
      aria-checked={item.checked}
      tabIndex={-1}
      onClick={() => {
        close(true)
        run()
      }}
      className={`flex w-full items-start gap-2.5 rounded-md px-2.5 py-1.5 text-left hover:bg-raised focus:bg-raised focus:outline-none ${item.danger ? 'text-bad' : ''}`}
    >
      {item.checked === undefined ? item.icon && <Icon name={item.icon} className="mt-1 text-muted" /> : <Icon name="approvals" className={`mt-1 ${item.checked ? '' : 'invisible'}`} />}
      <span className="min-w-0">
        {item.label}
        {item.below && <span className="block text-sm text-muted">{item.below}</span>}
      </span>
    </button>
  )
}

const entries = (menu: HTMLElement): HTMLElement[] => [...menu.querySelectorAll<HTMLElement>('[role^="menuitem"]')]

function onKey(event: KeyboardEvent<HTMLElement>, close: (giveBack: boolean) => void): void {
  if (event.key === 'Escape') {
    event.stopPropagation()
    event.preventDefault()
    close(true)
    return
  }
  if (event.key === 'Tab') {
    close(false)
    return
  }
  const all = entries(event.currentTarget)
  const at = all.indexOf(document.activeElement as HTMLElement)
  const next = target(event.key, at, all)
  if (next === undefined) return
  event.preventDefault()
  all[next]?.focus()
}

/** Which entry a key leads to. */
function target(key: string, at: number, all: readonly HTMLElement[]): number | undefined {
  if (key === 'ArrowDown') return (at + 1) % all.length
  if (key === 'ArrowUp') return (at - 1 + all.length) % all.length
  if (key === 'Home') return 0
  if (key === 'End') return all.length - 1
  if (key.length !== 1 || key === ' ') return undefined
  const letter = key.toLowerCase()
  const order = [...all.keys()].map((step) => (at + 1 + step) % all.length)
  return order.find((one) => all[one]?.textContent?.trim().toLowerCase().startsWith(letter))
}

function place(menu: HTMLElement, trigger: HTMLElement, align: 'start' | 'end'): void {
  const from = trigger.getBoundingClientRect()
  const size = menu.getBoundingClientRect()
  const wanted = align === 'start' ? from.left : from.right - size.width
  const left = Math.max(8, Math.min(wanted, innerWidth - size.width - 8))
  const below = from.bottom + GAP
  const top = below + size.height > innerHeight - 8 ? Math.max(8, from.top - GAP - size.height) : below
  menu.style.setProperty('left', `${left}px`)
  menu.style.setProperty('top', `${top}px`)
}
