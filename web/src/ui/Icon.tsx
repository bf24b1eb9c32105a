/** Drawings on a grid of 24, as strokes. An icon never stands alone: beside it, or as its label, is a word. */
const DRAWN = {
  home: 'M4 11 12 4l8 7M6 10v9h12v-9',
  projects: 'M3 7h7l2 2h9v10H3z',
  runs: 'M6 5v14l12-7z',
  agents: 'M8 8h8v8H8zM12 4v4M12 16v4M4 12h4M16 12h4',
  prompts: 'M4 5h16v11H9l-5 4z',
  evals: 'M4 20V10M10 20V4M16 20v-7M21 20H3',
  policies: 'M12 3l8 3v6c0 5-3.5 8-8 9-4.5-1-8-4-8-9V6z',
  approvals: 'M4 12.5 9 18 20 6',
  deployments: 'M12 15V3M7 8l5-5 5 5M4 15v5h16v-5',
  admin: 'M12 8.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM12 3v3M12 18v3M3 12h3M18 12h3M5.6 5.6l2.1 2.1M16.3 16.3l2.1 2.1M18.4 5.6l-2.1 2.1M7.7 16.3l-2.1 2.1',
  why: 'M9 9a3 3 0 1 1 4.2 2.7c-.8.4-1.2 1-1.2 2.3M12 17.5h.01',
  bell: 'M6 16V11a6 6 0 1 1 12 0v5l2 2H4zM10 21h4',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2',
  moon: 'M20 14.5A8 8 0 1 1 9.5 4 6.5 6.5 0 0 0 20 14.5z',
  screen: 'M3 5h18v11H3zM9 20h6M12 16v4',
  person: 'M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4 21c1-4 4-6 8-6s7 2 8 6',
  menu: 'M4 7h16M4 12h16M4 17h16',
  close: 'M6 6l12 12M18 6 6 18',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  down: 'M6 9l6 6 6-6',
  right: 'M9 6l6 6-6 6',
  back: 'M15 6l-6 6 6 6',
  clock: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5l3 2',
  wait: 'M7 4v16M17 4v16',
  cross: 'M7 7l10 10M17 7 7 17',
  warn: 'M12 4 2.5 20h19zM12 10v4M12 17h.01',
  ring: 'M12 5a7 7 0 1 0 0 14 7 7 0 0 0 0-14z',
  spin: 'M12 4a8 8 0 1 1-8 8',
  key: 'M8 11a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM11 12l9-9M17 6l3 3M14 9l2 2',
  file: 'M6 3h8l4 4v14H6zM14 3v4h4',
  branch: 'M7 4v10M7 18a2 2 0 1 0 0 .1M17 6a2 2 0 1 0 0 .1M17 8c0 5-10 3-10 8',
  undo: 'M9 14 4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3',
  plus: 'M12 5v14M5 12h14',
  download: 'M12 4v11M7 11l5 5 5-5M4 20h16',
  experiments: 'M9 3h6M10 3v6l-5 9a2 2 0 0 0 2 3h10a2 2 0 0 0 2-3l-5-9V3M7.5 15h9',
  models: 'M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9',
  endpoints: 'M5 12h5M14 7h5M14 17h5M10 12l4-5M10 12l4 5M3 12a1 1 0 1 0 2 0 1 1 0 0 0-2 0',
  sessions: 'M4 5h16v14H4zM8 10l3 2-3 2M13 15h4',
  datasets: 'M4 6c0-1.7 3.6-3 8-3s8 1.3 8 3-3.6 3-8 3-8-1.3-8-3zM4 6v12c0 1.7 3.6 3 8 3s8-1.3 8-3V6M4 12c0 1.7 3.6 3 8 3s8-1.3 8-3',
  apps: 'M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z',
  external: 'M14 4h6v6M20 4l-9 9M18 14v6H4V6h6',
} as const

export type IconName = keyof typeof DRAWN

export function Icon({ name, className = '' }: { name: IconName; className?: string }) {
  return (
    <svg viewBox="0 0 24 24" aria-hidden="true" className={`inline-block size-[1.15em] shrink-0 fill-none stroke-current ${className}`} strokeWidth="1.8" strokeLinecap="round" strokeLinejoin="round">
      <path d={DRAWN[name]} />
    </svg>
  )
}
