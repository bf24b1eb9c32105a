import { createRootRoute } from '@tanstack/react-router'
import { Missing, Oops } from './Failures'
import { Shell } from './Shell'

/** What all routes hang from: the frame of the console. */
export const rootRoute = createRootRoute({ component: Shell, notFoundComponent: Missing, errorComponent: Oops })
