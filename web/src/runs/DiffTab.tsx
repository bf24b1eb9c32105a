import { useMemo } from 'react'
import { DiffReview } from '../ui/DiffReview'
import { filesOf } from '../ui/diffs'
import { EmptyState } from '../ui/EmptyState'
import type { Pane } from './Run'

/** What the run, or the chosen step, changed. */
export default function DiffTab({ view, search, put }: Pane) {
  const text = view.diff?.text ?? ''
  const files = useMemo(() => filesOf(text), [text])
  if (files.length === 0) return <EmptyState title="Nothing was changed." command={view.run.branch ? `builderos diff --branch ${view.run.branch}` : undefined} />
  return (
    <DiffReview
      label="Difference"
      files={files}
      total={view.diff?.files_total ?? files.length}
      at={search.file !== undefined && search.line !== undefined ? { path: search.file, side: search.side ?? 'new', line: search.line } : null}
      onPlace={(at) => put({ file: at.path, line: at.line, side: at.side === 'old' ? 'old' : undefined })}
    />
  )
}
