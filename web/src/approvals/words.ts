const WORDS: Record<string, string> = {
  'registry.promote': 'Promote a model',
  'pull.merge': 'Take a change in',
  'run.approve': 'Let a run go on',
  'deploy.dev': 'Deploy to development',
  'deploy.stage': 'Deploy to stage',
  'deploy.prod': 'Deploy to production',
}

/** What would be done, in words; the name of the action where there are none. */
export const actWord = (action: string): string => WORDS[action] ?? action

/** Where the thing is shown that an approval is about. */
export const promotionOf = (object: string): string | null => (/^pmt_\w+$/.test(object) ? object : null)
