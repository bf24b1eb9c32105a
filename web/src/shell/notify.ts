import { onLive, type Item } from '../api/live'

/** Let the browser say that something waits for a decision, while nobody looks at the page. */
export function notifyOfApprovals(open: (id: string) => void): () => void {
  return onLive('inbox', (item: Item) => {
    if (item.type !== 'approval.requested' || document.visibilityState === 'visible') return
    if (!('Notification' in window) || Notification.permission !== 'granted') return
    // The same tag in every tab: the browser shows one.
    const note = new Notification('Something waits for your decision', { body: item.repo ?? '', tag: item.object })
    note.addEventListener('click', () => {
      window.focus()
      open(item.object)
      note.close()
    })
  })
}
