import { api, data, type Schemas } from '../api/client'

/** A new workspace of a project, for whoever is in or for nobody in particular. */
export async function openWorkspace(repo: string, more: { force_new?: boolean } = {}): Promise<Schemas['SandboxOut']> {
  const opened = await data(api.POST('/sandbox/init', { body: { repo_name: repo, mode: 'branch', ...more } }))
  if (!('reuse_token' in opened)) throw new Error('the server opened no workspace')
  return opened
}
