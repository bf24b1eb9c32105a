import { useEffect, useId, useRef, type ReactNode } from 'react'
import { IconButton } from './Button'

interface Props {
  open: boolean
  onClose: () => void
  title: string
  /** Buttons at the bottom. */
  actions?: ReactNode
  wide?: boolean
  /** It has to be answered: neither Esc nor a press beside it closes it. */
  firm?: boolean
  children: ReactNode
}

/**
 * A dialog over the page. The browser's own: it keeps the focus inside, makes the rest inert, closes on Esc and gives
 * the focus back.
 */
export function Dialog({ open, onClose, title, actions, wide = false, firm = false, children }: Props) {
  const ref = useRef<HTMLDialogElement>(null)
  const heading = useId()
  useEffect(() => {
    const dialog = ref.current
    if (!open || !dialog) return
    dialog.showModal()
    // To the first thing to fill in, else to the first answer: not to the cross, which the browser would choose.
    const body = dialog.querySelector<HTMLElement>('[data-body]')
    const first = body?.querySelector<HTMLElement>('input, textarea, select') ?? dialog.querySelector<HTMLElement>('[data-actions] button')
    first?.focus()
    return () => dialog.close()
  }, [open])
  if (!open) return null
  return (
    <dialog
      ref={ref}
      aria-labelledby={heading}
      onCancel={(event) => {
        if (event.target !== ref.current) return
        event.preventDefault()
        if (!firm) onClose()
      }}
      onClick={(event) => {
        if (!firm && event.target === ref.current) onClose()
      }}
      className={`w-[calc(100vw-2rem)] rounded-xl border border-line bg-panel p-0 shadow-xl ${wide ? 'max-w-4xl' : 'max-w-lg'}`}
    >
      <div className="flex max-h-[85vh] flex-col gap-4 p-5">
        <div className="flex items-start justify-between gap-3">
          <h2 id={heading}>{title}</h2>
          {!firm && <IconButton icon="close" label="Close" className="-mt-1.5 -mr-1.5" onClick={onClose} />}
        </div>
        <div data-body className="flex min-h-0 flex-col gap-3 overflow-y-auto">{children}</div>
        {actions && <div data-actions className="flex flex-wrap justify-end gap-2">{actions}</div>}
      </div>
    </dialog>
  )
}
