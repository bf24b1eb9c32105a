import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { Dialog } from '../ui/Dialog'
import { Select, TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Time } from '../ui/Time'
import { Once } from './parts'

type Member = Schemas['Member']
type Role = Member['role']
export const ROLES: readonly (readonly [Role, string])[] = [['viewer', 'Viewer: reads'], ['reviewer', 'Reviewer: reads and decides'], ['builder', 'Builder: builds'], ['admin', 'Admin: looks after the organisation'], ['org_owner', 'Owner']]

/** Who belongs to the organisation, with which role, and who was invited. */
export function Members() {
  const may = useMay()
  const cache = useQueryClient()
  const can = may('member.manage')
  const [changed, setChanged] = useState<Member | null>(null)
  const [removed, setRemoved] = useState<Member | null>(null)
  const [inviting, setInviting] = useState(false)
  return (
    <div className="flex flex-col gap-5">
      <Section title="Members" actions={can && <Button icon="plus" onClick={() => setInviting(true)}>Invite</Button>}>
        <Listing
          label="All members"
          queryKey={['members']}
          read={(_, signal) => data(api.GET('/v1/members', { signal }))}
          keyOf={(one) => one.id}
          empty="Nobody has joined yet."
          command="builderos member invite ann@example.com --role builder"
          call={{ cli: 'builderos member list', method: 'GET', path: '/v1/members', mcp: { name: 'listMembers', arguments: {} } }}
          columns={[
            { id: 'name', title: 'Who', width: 'minmax(12rem, 1fr)', cell: (one) => harmless(one.name ?? one.label) },
            { id: 'mail', title: 'Mail', width: 'minmax(12rem, 1fr)', cell: (one) => harmless(one.email ?? '') },
            { id: 'kind', title: 'Kind', width: '7rem', cell: (one) => (one.kind === 'service' ? 'a program' : 'a person') },
            { id: 'role', title: 'Role', width: '8rem', cell: (one) => one.role.replace('org_', '') },
            { id: 'since', title: 'Since', width: '9rem', cell: (one) => <Time at={one.created_at} /> },
            ...(can ? [{ id: 'acts', title: 'Acts', width: '14rem', cell: (one: Member) => (
              <span className="flex gap-2">
                <Button small onClick={() => setChanged(one)}>Change role</Button>
                <Button small look="danger" onClick={() => setRemoved(one)}>Remove</Button>
              </span>
            ) }] : []),
          ]}
        />
      </Section>
      {can && <Invites />}
      <Section title="Roles in single places">
        <Listing
          label="Grants"
          queryKey={['members', 'grants']}
          read={(_, signal) => data(api.GET('/v1/grants', { signal }))}
          keyOf={(one) => one.id}
          empty="Everybody has the same role everywhere."
          command="builderos project grant <member> --role builder --in <place>"
          call={{ cli: 'builderos project grants', method: 'GET', path: '/v1/grants', mcp: { name: 'listGrants', arguments: {} } }}
          columns={[
            { id: 'who', title: 'Who', width: 'minmax(14rem, 1fr)', cell: (one) => <code>{one.member_id}</code> },
            { id: 'place', title: 'Where', width: 'minmax(14rem, 1fr)', cell: (one) => <code>{one.place}</code> },
            { id: 'environment', title: 'Environment', width: '8rem', cell: (one) => one.environment || 'all' },
            { id: 'role', title: 'Role', width: '8rem', cell: (one) => one.role },
          ]}
        />
      </Section>
      {inviting && <Invite onClose={() => setInviting(false)} />}
      {changed && <Change member={changed} onClose={() => setChanged(null)} />}
      {removed && (
        <Confirm
          open
          danger
          title={`Remove ${harmless(removed.name ?? removed.label)}?`}
          act="Remove"
          onClose={() => setRemoved(null)}
          run={async () => {
            await data(api.DELETE('/v1/members/{id}', { params: { path: { id: removed.id } } }))
            await cache.invalidateQueries({ queryKey: ['members'] })
          }}
        >
          <p>Every token, key and session that acts on their behalf ends at once. What they made stays.</p>
        </Confirm>
      )}
    </div>
  )
}

function Invites() {
  const cache = useQueryClient()
  const end = useMutation({
    mutationFn: (id: string) => data(api.DELETE('/v1/invites/{id}', { params: { path: { id } } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: ['members', 'invites'] }),
  })
  return (
    <Section title="Invites">
      {end.isError && <ProblemNote error={end.error} />}
      <Listing
        label="Open invites"
        queryKey={['members', 'invites']}
        read={(_, signal) => data(api.GET('/v1/invites', { signal }))}
        keyOf={(one) => one.id}
        empty="No invite is open."
        command="builderos member invite ann@example.com --role builder"
        call={{ cli: 'builderos member invites', method: 'GET', path: '/v1/invites', mcp: { name: 'listInvites', arguments: {} } }}
        columns={[
          { id: 'mail', title: 'Mail', width: 'minmax(12rem, 1fr)', cell: (one) => harmless(one.email ?? '') },
          { id: 'role', title: 'Role', width: '8rem', cell: (one) => one.role.replace('org_', '') },
          { id: 'until', title: 'Until', width: '9rem', cell: (one) => <Time at={one.expires_at} /> },
          { id: 'acts', title: 'Acts', width: '8rem', cell: (one) => <Button small onClick={() => end.mutate(one.id)}>Take back</Button> },
        ]}
      />
    </Section>
  )
}

function Invite({ onClose }: { onClose: () => void }) {
  const cache = useQueryClient()
  const [email, setEmail] = useState('')
  const [role, setRole] = useState<Role>('builder')
  const send = useMutation({
    mutationFn: () => data(api.POST('/v1/invites', { body: { email, role } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: ['members', 'invites'] }),
  })
  if (send.data) return <Once what={`The invite of ${send.data.email}`} secret={send.data.invite_token} onClose={onClose} />
  return (
    <Dialog open onClose={onClose} title="Invite somebody" actions={<Button look="main" type="submit" form="invite" busy={send.isPending}>Invite</Button>}>
      <form id="invite" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); send.mutate() }}>
        <TextField label="Mail address" type="email" required value={email} onChange={setEmail} />
        <Select label="Role" value={role} onChange={(value) => setRole(value as Role)} options={ROLES} />
      </form>
      {send.isError && <ProblemNote error={send.error} />}
    </Dialog>
  )
}

function Change({ member, onClose }: { member: Member; onClose: () => void }) {
  const cache = useQueryClient()
  const [role, setRole] = useState<Role>(member.role)
  const send = useMutation({
    mutationFn: () => data(api.POST('/v1/members/{id}', { params: { path: { id: member.id } }, body: { role } })),
    onSuccess: async () => {
      await cache.invalidateQueries({ queryKey: ['members'] })
      onClose()
    },
  })
  return (
    <Dialog open onClose={onClose} title={`The role of ${harmless(member.name ?? member.label)}`} actions={<Button look="main" busy={send.isPending} onClick={() => send.mutate()}>Change</Button>}>
      <Select label="Role" value={role} onChange={(value) => setRole(value as Role)} options={ROLES} />
      {send.isError && <ProblemNote error={send.error} />}
    </Dialog>
  )
}
