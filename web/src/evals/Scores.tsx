import { useQuery } from '@tanstack/react-query'
import { api, data, type Schemas } from '../api/client'
import { Chart } from '../ui/Chart'

type Result = Schemas['Result']
const percent = (value: number): string => `${value.toLocaleString('en', { maximumFractionDigits: 1 })} %`
/** Of a version, of a file on a branch, or of no prompt at all. */
const named = (one: Result): string => (one.prompt ? `${one.prompt}${one.version ? `@${one.version}` : ''}` : one.branch)

/**
 * The share of passed cases: of each version the newest result of each suite, the version that was tried first at the
 * left.
 */
export function Scores({ suite, prompt }: { suite?: string | undefined; prompt?: string | undefined }) {
  const query = { suite: suite ?? null, prompt: prompt ?? null, limit: 200 }
  const found = useQuery({ queryKey: ['evals', 'scores', query], queryFn: ({ signal }) => data(api.GET('/v1/evals', { params: { query }, signal })) })
  const results = [...(found.data?.items ?? [])].reverse()
  const at = [...new Set(results.map(named))].slice(-60)
  if (at.length === 0) return null
  const suites = [...new Set(results.map((one) => one.suite))].slice(-4)
  const series = suites.map((name) => {
    const newest = new Map(results.filter((one) => one.suite === name).map((one) => [named(one), one.pass_rate * 100]))
    return { name, values: at.map((version) => newest.get(version) ?? null) }
  })
  return <Chart label="Passed cases over versions" at={at} series={series} most={100} format={percent} />
}
