import { Dialog } from '../ui/Dialog'
import { useAllCommands } from './commands'

/** All keys that do something here. */
export default function Keys({ onClose }: { onClose: () => void }) {
  const keyed = useAllCommands().filter((command) => command.keys)
  const groups = [...new Set(keyed.map((command) => command.group))]
  return (
    <Dialog open onClose={onClose} title="Keys">
      <div role="region" aria-label="All keys" tabIndex={0} className="flex flex-col gap-3">
        <Group name="Everywhere" rows={[['Ctrl K', 'Search and commands'], ['Esc', 'Close what is open']]} />
        {groups.map((group) => (
          <Group key={group} name={group} rows={keyed.filter((command) => command.group === group).map((command) => [command.keys ?? '', command.label])} />
        ))}
      </div>
    </Dialog>
  )
}

function Group({ name, rows }: { name: string; rows: readonly (readonly [string, string])[] }) {
  return (
    <section aria-label={name}>
      <h3 className="text-sm font-medium text-muted">{name}</h3>
      <dl className="grid grid-cols-[7rem_1fr] gap-y-1">
        {rows.map(([keys, label]) => (
          <div key={label} className="contents">
            <dt>
              {keys.split(' ').map((key) => (
                <kbd key={key} className="mr-1 rounded border border-line bg-raised px-1.5 font-mono text-sm">
                  {key}
                </kbd>
              ))}
            </dt>
            <dd>{label}</dd>
          </div>
        ))}
      </dl>
    </section>
  )
}
