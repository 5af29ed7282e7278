-- What other people's servers send in: kept as it came, sealed, for 7 days, and worked on after the
-- answer. (source, event_id) is known for at least two days, longer than any sender tries again.

create table messaging.inbound_events (
  tenant_id uuid not null,
  id uuid not null default platform.uuid_v7(),
  at timestamptz not null default now(),
  tenant text not null,
  source text not null check (source in ('slack')),
  event_id text not null,
  channel_code text,
  key_id text not null,
  sealed bytea not null,
  state text not null check (state in ('pending', 'done', 'ignored', 'failed')),
  reason text,
  message_id uuid,
  -- An administrator wants it again although it is there: told apart from the first by its number.
  again int not null default 0,
  attempts int not null default 0,
  due_at timestamptz not null default now(),
  lease_until timestamptz,
  primary key (tenant_id, id, at)
) partition by range (at);
create index inbound_events_known on messaging.inbound_events (tenant_id, source, event_id);
-- A global scan of work: led by the time.
create index inbound_events_due on messaging.inbound_events (due_at) where state = 'pending';
insert into platform.partitioned values ('messaging.inbound_events', '7 days');
select platform.ensure_partitions();

create function messaging.inbound_json(e messaging.inbound_events) returns jsonb
language sql stable as $$
  select jsonb_build_object('id', e.id, 'source', e.source, 'event_id', e.event_id,
    'channel_code', e.channel_code, 'state', e.state, 'reason', e.reason,
    'message_id', e.message_id, 'attempts', e.attempts, 'received_at', messaging.instant(e.at))
$$;

-- The sealed signing secrets of the workspaces of a Slack team.
create function messaging.slack_secrets(p_team text)
returns table (tenant text, workspace_code text, key_id text, sealed bytea)
language sql stable as $$
  select distinct t.code, c.workspace_code, s.key_id, s.sealed
    from messaging.channels c
    join platform.tenants t on t.id = c.tenant_id
    join platform.secrets s on s.tenant_id = c.tenant_id and s.kind = 'slack_signing'
     and s.ref = c.workspace_code
   where c.team_id = p_team
$$;

-- Keeps an event of Slack for whichever tenants the channel belongs to; of these only p_tenants, when
-- it is not null: who signs with a secret of its own speaks for nobody else.
-- outcome: 'stored' | 'duplicate' | 'unknown_team' (nothing is kept)
create function messaging.receive_slack(
  p_team text, p_channel text, p_event text, p_key_id text, p_sealed bytea, p_tenants text[],
  out outcome text
) language plpgsql as $$
declare
  d record;
begin
  outcome := 'unknown_team';
  for d in
    select distinct on (c.tenant_id) c.tenant_id, t.code as tenant,
           case when c.provider_channel_id = p_channel then c.code end as channel
      from messaging.channels c join platform.tenants t on t.id = c.tenant_id
     where c.team_id = p_team and (p_tenants is null or t.code = any (p_tenants))
     order by c.tenant_id, (c.provider_channel_id = p_channel) desc nulls last
  loop
    -- Equal events at once go one by one; the index alone could not tell them apart over two days.
    perform pg_advisory_xact_lock(
      hashtextextended(d.tenant_id::text || '|slack|' || p_event, 11));
    if exists (select 1 from messaging.inbound_events e
      where e.tenant_id = d.tenant_id and e.source = 'slack' and e.event_id = p_event)
    then
      outcome := case outcome when 'stored' then 'stored' else 'duplicate' end;
      continue;
    end if;
    insert into messaging.inbound_events
      (tenant_id, tenant, source, event_id, channel_code, key_id, sealed, state, reason)
    values (d.tenant_id, d.tenant, 'slack', p_event, d.channel, p_key_id, p_sealed,
      case when d.channel is null then 'ignored' else 'pending' end,
      case when d.channel is null then 'unknown_channel' end);
    outcome := 'stored';
  end loop;
end
$$;

-- Takes events that are due, for p_lease; who dies leaves them to the next one.
create function messaging.claim_inbound(p_limit int, p_lease interval)
returns setof messaging.inbound_events language sql as $$
  update messaging.inbound_events e set lease_until = now() + p_lease, attempts = e.attempts + 1
    from (select tenant_id, id, at from messaging.inbound_events
           where state = 'pending' and due_at <= now()
             and (lease_until is null or lease_until < now())
           order by due_at limit p_limit for update skip locked) d
   where e.tenant_id = d.tenant_id and e.id = d.id and e.at = d.at
  returning e.*
$$;

-- What became of an event; a null p_state: it is tried again after p_pause.
create function messaging.settle_inbound(
  p_tenant uuid, p_id uuid, p_state text, p_reason text, p_message uuid, p_pause interval
) returns void language sql as $$
  update messaging.inbound_events set state = coalesce(p_state, state),
         reason = left(p_reason, 500), message_id = coalesce(p_message, message_id),
         lease_until = null, due_at = now() + coalesce(p_pause, interval '0')
   where tenant_id = p_tenant and id = p_id
$$;

-- Feeds an event in once more. What is there already stays single, unless p_force: then it is a
-- message of its own. The channel is looked up anew: it may be known by now.
-- outcome: 'queued' (answer = inbound_json) | 'not_found' | 'busy'
create function messaging.replay_inbound(
  p_tenant uuid, p_id uuid, p_channel text, p_force bool, p_actor text, p_request_id text,
  out outcome text, out answer jsonb
) language plpgsql as $$
declare
  e messaging.inbound_events;
begin
  select * into e from messaging.inbound_events
   where tenant_id = p_tenant and id = p_id for update;
  if not found then outcome := 'not_found'; return; end if;
  if e.state = 'pending' then outcome := 'busy'; return; end if;
  update messaging.inbound_events set state = 'pending', reason = null, attempts = 0,
         due_at = now(), lease_until = null, again = again + case when p_force then 1 else 0 end,
         channel_code = coalesce(p_channel, channel_code)
   where tenant_id = p_tenant and id = p_id returning * into e;
  outcome := 'queued';
  answer := messaging.inbound_json(e);
  perform platform.note_audit(p_tenant, p_actor, 'inbound.replay', p_id::text, null,
    jsonb_build_object('force', p_force), null, p_request_id);
end
$$;

-- The message that a Slack timestamp names in a channel: one that came in, or one that went out.
create function messaging.slack_message(
  p_tenant uuid, p_conversation uuid, p_external text, p_ts text
) returns uuid language sql stable as $$
  select m.id from messaging.messages m
   where m.tenant_id = p_tenant and m.conversation_id = p_conversation
     and (m.external_id = p_external or m.provider_ts = p_ts) and m.deleted_at is null
   order by m.seq limit 1
$$;
