import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

const word = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' && value.length <= 200 ? value : undefined)

export interface PromptsSearch {
  q?: string | undefined
  tag?: string | undefined
}

export const promptsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/prompts',
  validateSearch: (search): PromptsSearch => ({ q: word(search.q), tag: word(search.tag) }),
}).lazy(() => import('./Prompts').then((page) => page.Route))

export interface PromptSearch {
  /** The version that is looked at; the newest where it is missing. */
  version?: string | undefined
  /** The one that it is compared with. */
  from?: string | undefined
}

export const promptRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/prompts/$name',
  validateSearch: (search): PromptSearch => ({ version: word(search.version), from: word(search.from) }),
}).lazy(() => import('./Prompt').then((page) => page.Route))
