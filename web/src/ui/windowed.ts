import { useCallback, useLayoutEffect, useState } from 'react'

// Browsers stop at about 17 million pixels (Firefox) and 33 million (Chromium): beyond this the thumb moves in scale.
const MOST_PX = 12_000_000

export interface Windowed {
  /** For the element that scrolls. */
  frame: (element: HTMLElement | null) => void
  /** First row in the document, and the one behind the last. */
  from: number
  to: number
  /** Height of what is scrolled, and how far the first row stands from its top. */
  height: number
  shift: number
  /** Rows that fit. */
  fits: number
  /** Whether the last row is in sight. */
  atEnd: boolean
  show: (row: number, where?: 'start' | 'center' | 'nearest') => void
}

/**
 * The part of a long list of equally high rows that can be seen; a list may have millions of them.
 *
 * A list that is longer than a browser can scroll is scrolled in scale: the thumb stands for a share of the rows.
 */
export function useWindow(count: number, rowPx: number, over = 8): Windowed {
  const [box, setBox] = useState<HTMLElement | null>(null)
  const [at, setAt] = useState({ top: 0, height: 480 })
  useLayoutEffect(() => {
    if (!box) return
    const look = () => setAt((was) => (was.top === box.scrollTop && was.height === box.clientHeight ? was : { top: box.scrollTop, height: box.clientHeight }))
    look()
    const sized = new ResizeObserver(look)
    sized.observe(box)
    box.addEventListener('scroll', look, { passive: true })
    return () => {
      sized.disconnect()
      box.removeEventListener('scroll', look)
    }
  }, [box])
  const natural = count * rowPx
  const height = Math.min(natural, MOST_PX)
  const fits = at.height / rowPx
  const scaled = natural > MOST_PX
  const room = Math.max(1, height - at.height)
  const exact = scaled ? (Math.min(at.top, room) / room) * Math.max(0, count - fits) : at.top / rowPx
  const from = Math.max(0, Math.min(count, Math.floor(exact) - over))
  const to = Math.min(count, Math.ceil(exact + fits) + over)
  const shift = scaled ? at.top + (from - exact) * rowPx : from * rowPx
  const show = useCallback(
    (row: number, where: 'start' | 'center' | 'nearest' = 'nearest') => {
      if (!box) return
      const seen = box.clientHeight / rowPx
      const space = Math.max(1, Math.min(count * rowPx, MOST_PX) - box.clientHeight)
      const first = count * rowPx > MOST_PX ? (box.scrollTop / space) * Math.max(0, count - seen) : box.scrollTop / rowPx
      let wanted = where === 'start' ? row : row - seen / 2
      if (where === 'nearest') {
        if (row >= first && row + 1 <= first + seen) return
        wanted = row < first ? row : row + 1 - seen
      }
      box.scrollTop = count * rowPx > MOST_PX ? (wanted / Math.max(1, count - seen)) * space : wanted * rowPx
    },
    [box, count, rowPx],
  )
  return { frame: setBox, from, to, height, shift, fits, atEnd: exact + fits >= count - 1, show }
}
