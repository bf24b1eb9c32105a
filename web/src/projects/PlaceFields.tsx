import { useQuery } from '@tanstack/react-query'
import { useId } from 'react'
import { useBranches } from '../api/branches'
import { api, data } from '../api/client'
import { TextField } from '../ui/Field'

interface Props {
  repo: string
  branch: string
  onRepo: (repo: string) => void
  onBranch: (branch: string) => void
  /** What a repository is called here. */
  word?: string
}

/** Repository and branch: typed, or chosen from those that there are. */
export function PlaceFields({ repo, branch, onRepo, onBranch, word = 'Repository' }: Props) {
  const id = useId()
  const repos = useQuery({ queryKey: ['projects', 'all'], queryFn: ({ signal }) => data(api.GET('/v1/repos', { params: { query: { limit: 200 } }, signal })) })
  const known = repos.data?.items.some((one) => one.repo_name === repo) ?? false
  const { branches } = useBranches(known ? repo : undefined)
  const plain = { autoComplete: 'off', spellCheck: false } as const
  return (
    <>
      <TextField label={word} value={repo} onChange={onRepo} list={`${id}-repos`} {...plain} />
      <datalist id={`${id}-repos`}>{repos.data?.items.map((one) => <option key={one.id} value={one.repo_name} />)}</datalist>
      <TextField label="Branch" value={branch} onChange={onBranch} list={`${id}-branches`} {...plain} />
      <datalist id={`${id}-branches`}>{branches.map((one) => <option key={one.id} value={one.name} />)}</datalist>
    </>
  )
}
