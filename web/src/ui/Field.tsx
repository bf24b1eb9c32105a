import { useId, type ComponentProps, type ReactNode } from 'react'

const BOX = 'w-full rounded-md border border-edge bg-panel px-2.5 py-1.5 text-text placeholder:text-muted aria-invalid:border-bad disabled:opacity-60'

interface Words {
  label: string
  /** A sentence below the field. */
  hint?: ReactNode
  /** What is wrong with what was typed. */
  error?: string | undefined
}

/** Label, hint and error around a field of any kind. */
export function Field({ label, hint, error, children }: Words & { children: (ids: { id: string; 'aria-describedby': string | undefined; 'aria-invalid': true | undefined }) => ReactNode }) {
  const id = useId()
  const below = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(' ')
  return (
    <div className="flex min-w-0 flex-col gap-1">
      <label htmlFor={id} className="text-sm font-medium">
        {label}
      </label>
      {children({ id, 'aria-describedby': below || undefined, 'aria-invalid': error ? true : undefined })}
      {hint && (
        <p id={`${id}-hint`} className="text-sm text-muted">
          {hint}
        </p>
      )}
      {error && (
        <p id={`${id}-error`} role="alert" className="text-sm text-bad">
          {error}
        </p>
      )}
    </div>
  )
}

type Typed<T extends 'input' | 'textarea' | 'select'> = Words & { value: string; onChange: (value: string) => void } & Omit<ComponentProps<T>, 'value' | 'onChange' | 'id' | 'children'>

/** One line of text. */
export function TextField({ label, hint, error, value, onChange, className = '', ...rest }: Typed<'input'>) {
  return (
    <Field label={label} hint={hint} error={error}>
      {(ids) => <input type="text" {...rest} {...ids} value={value} onChange={(event) => onChange(event.target.value)} className={`${BOX} ${className}`} />}
    </Field>
  )
}

/** Several lines of text; it grows with them. */
export function TextArea({ label, hint, error, value, onChange, className = '', ...rest }: Typed<'textarea'>) {
  return (
    <Field label={label} hint={hint} error={error}>
      {(ids) => <textarea rows={3} {...rest} {...ids} value={value} onChange={(event) => onChange(event.target.value)} className={`${BOX} field-sizing-content max-h-96 ${className}`} />}
    </Field>
  )
}

/** One of a few. */
export function Select({ label, hint, error, value, onChange, options, className = '', ...rest }: Typed<'select'> & { options: readonly (readonly [value: string, word: string])[] }) {
  return (
    <Field label={label} hint={hint} error={error}>
      {(ids) => (
        <select {...rest} {...ids} value={value} onChange={(event) => onChange(event.target.value)} className={`${BOX} ${className}`}>
          {options.map(([each, word]) => (
            <option key={each} value={each}>
              {word}
            </option>
          ))}
        </select>
      )}
    </Field>
  )
}

/** Yes or no. */
export function Checkbox({ label, checked, onChange, ...rest }: { label: ReactNode; checked: boolean; onChange: (checked: boolean) => void } & Omit<ComponentProps<'input'>, 'checked' | 'onChange' | 'type'>) {
  return (
    <label className="flex items-start gap-2">
      <input type="checkbox" {...rest} checked={checked} onChange={(event) => onChange(event.target.checked)} className="mt-1 size-4 accent-accent" />
      <span className="min-w-0">{label}</span>
    </label>
  )
}
