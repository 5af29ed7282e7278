-- What every message calls is plpgsql: it keeps its plans for the connection's life, where a function
-- in SQL that cannot be inlined is planned again by each statement that calls it.

create or replace function platform.outbox_postpone(p_id bigint, p_created timestamptz, p_reason text)
returns void language plpgsql as $$
begin
  update platform.outbox set attempts = attempts + 1, last_error = left(p_reason, 500)
   where id = p_id and created_at >= p_created - interval '1 second';
end
$$;

create or replace function platform.outbox_lay_aside(p_id bigint, p_created timestamptz, p_reason text)
returns void language plpgsql as $$
begin
  update platform.outbox
     set attempts = attempts + 1, last_error = left(p_reason, 500), laid_aside_at = now()
   where id = p_id and created_at >= p_created - interval '1 second';
end
$$;

create or replace function messaging.bot_of(p_tenant uuid, p_bot uuid, p_channel text)
returns messaging.bots language plpgsql stable as $$
declare
  bot messaging.bots;
begin
  select b.* into bot from messaging.bots b
   where b.tenant_id = p_tenant and b.id = coalesce(p_bot,
     (select bot_id from messaging.channels where tenant_id = p_tenant and code = p_channel),
     (select default_bot_id from messaging.tenant_settings where tenant_id = p_tenant));
  return bot;
end
$$;

create or replace function messaging.bot_is_on(p_tenant uuid, p_bot uuid, p_channel text) returns bool
language plpgsql stable as $$
declare
  bot messaging.bots := messaging.bot_of(p_tenant, p_bot, p_channel);
begin
  if bot.id is not null and bot.is_active is not null then
    return bot.is_active;
  end if;
  return coalesce(
    (select allow_default_bot from messaging.tenant_settings where tenant_id = p_tenant), true);
end
$$;

create or replace function messaging.ai_job_work(j messaging.ai_jobs, p_history int) returns jsonb
language plpgsql stable as $$
declare
  v_work jsonb;
begin
  select jsonb_build_object(
    'id', j.id, 'tenant_id', j.tenant_id, 'tenant', j.tenant, 'lock_id', j.lock_id,
    'conversation_id', j.conversation_id, 'fence', j.fence, 'upto_seq', j.upto_seq,
    'attempts', j.attempts, 'consolidated_messages', j.consolidated_messages,
    'input', j.input, 'channel_code', c.channel_code,
    -- What its provider takes as one message depends on it.
    'channel_kind', (select h.kind from messaging.channels h
      where h.tenant_id = j.tenant_id and h.code = c.channel_code),
    'supersedes', c.supersedes,
    -- Whether messages in the conversation wait for the answer, or only who brought a history.
    'posts', j.upto_seq > c.answered_seq,
    'bot', case when b.id is not null then to_jsonb(b) - 'tenant_id' end,
    'core_ai', case when a.id is not null then to_jsonb(a) - 'tenant_id' end,
    'platform', (select to_jsonb(p) - 'tenant_id' from messaging.platforms p
      where p.tenant_id = j.tenant_id and p.id = b.platform_id),
    'token', (select jsonb_build_object('key_id', s.key_id, 'sealed', encode(s.sealed, 'hex'))
      from platform.secrets s
      where s.tenant_id = j.tenant_id and s.kind = 'core_ai' and s.ref = a.id::text),
    -- To a history that the caller brought belongs only what came into the conversation since.
    'history', coalesce((
      select jsonb_agg(jsonb_build_object('seq', h.seq, 'sender_kind', h.sender_kind,
        'sender_id', h.sender_id, 'text', h.text, 'attachments', h.attachments) order by h.seq)
      from (select m.seq, m.sender_kind, m.sender_id, m.text, m.attachments
              from messaging.messages m
             where m.tenant_id = j.tenant_id and m.conversation_id = j.conversation_id
               and m.seq <= j.upto_seq and m.deleted_at is null
               and (j.input is null or m.seq > c.answered_seq and m.sender_kind = 'contact')
             order by m.seq desc limit p_history) h), '[]'))
  into v_work
  from messaging.conversations c
  left join lateral messaging.bot_of(j.tenant_id, c.bot_id, c.channel_code) b on true
  left join messaging.core_ai a on a.tenant_id = j.tenant_id and a.id = b.core_ai_id
  where c.tenant_id = j.tenant_id and c.id = j.conversation_id;
  return v_work;
end
$$;

-- Counts a batch of [{id, tenant, source, name, at}]; those known already are passed over. Returns
-- how many were new. `offset 0` keeps the lookup one by the whole key: as a join, planned while the
-- day's partition is empty, it reads the tenant's whole day for each event.
create or replace function assignment.count_events(p_events jsonb) returns int
language plpgsql as $$
declare
  fresh int;
begin
  with given as (
    select distinct on (t.id, e.id) t.id as tenant_id, e.id, e.source, e.name, e.at
      from jsonb_to_recordset(p_events)
             as e(id uuid, tenant text, source text, name text, at timestamptz)
      join platform.tenants t on t.code = e.tenant
     where not exists (select from assignment.counted_events k
       where k.tenant_id = t.id and k.event_id = e.id
         and k.day between (now() at time zone 'utc')::date - 1
           and (now() at time zone 'utc')::date offset 0)
     order by t.id, e.id
  ), kept as (
    insert into assignment.counted_events (tenant_id, event_id, day)
    select tenant_id, id, (now() at time zone 'utc')::date from given
    on conflict do nothing returning tenant_id, event_id
  ), counted as (
    insert into assignment.event_counts as c (tenant_id, grain, bucket, source, name, count)
    select g.tenant_id, grain, date_trunc(grain, g.at, 'UTC'), g.source, g.name, count(*)
      from given g join kept k on k.tenant_id = g.tenant_id and k.event_id = g.id
     cross join unnest(array['minute', 'hour']) grain
     group by 1, 2, 3, 4, 5 order by 1, 2, 4, 3, 5
    on conflict (tenant_id, grain, source, bucket, name)
      do update set count = c.count + excluded.count
    returning 1)
  select count(*) into fresh from kept;
  return fresh;
end
$$;

-- What became of a message request that a message of the conversation made; older news than what is
-- known changes nothing.
create or replace function messaging.apply_delivery(
  p_tenant uuid, p_code text, p_request uuid, p_generation bigint, p_version bigint,
  p_status text, p_provider_ts text, p_error text, out outcome text
) language plpgsql as $$
declare
  m messaging.messages;
  v bigint;
  v_state text := case when p_status in ('accepted', 'dispatched', 'sending', 'retry_wait')
    then 'pending' when p_status = 'sent' then 'delivered' else p_status end;
begin
  select * into m from messaging.messages
   where tenant_id = p_tenant and message_request_id = p_request;
  if not found then outcome := 'not_found'; return; end if;
  -- The conversation first, as everybody locks them; the message's row has the last word.
  update messaging.conversations c set version = c.version + 1, updated_at = now()
    from messaging.messages x
   where c.tenant_id = p_tenant and c.id = m.conversation_id
     and x.tenant_id = p_tenant and x.id = m.id
     and (x.delivery_generation, x.delivery_version) < (p_generation, p_version)
  returning c.version into v;
  if not found then outcome := 'old'; return; end if;
  update messaging.messages set delivery_state = v_state, delivery_generation = p_generation,
         delivery_version = p_version, delivery_error = p_error,
         provider_ts = coalesce(p_provider_ts, provider_ts)
   where tenant_id = p_tenant and id = m.id
     and (delivery_generation, delivery_version) < (p_generation, p_version);
  if not found then outcome := 'old'; return; end if;
  perform platform.emit('messaging', p_tenant, p_code, 'message.delivery', m.conversation_id::text,
    v, jsonb_build_object('message_id', m.id, 'conversation_id', m.conversation_id, 'seq', m.seq,
      'message_request_id', p_request, 'state', v_state, 'provider_ts', p_provider_ts));
  outcome := 'applied';
end
$$;

-- Tells everybody who wants to know what happened to a message request. Who asked for it is told of
-- all but its first way to the queue: to them it is still on its way, as it was.
create or replace function dispatch.announce(m dispatch.message_requests, p_event text)
returns void language plpgsql as $$
declare
  data jsonb := jsonb_build_object('id', m.id, 'status', m.status, 'generation', m.generation,
    'channel_code', m.channel_code, 'provider_ts', m.provider_ts, 'error', m.last_error,
    'metadata', m.metadata, 'version', m.version);
begin
  perform platform.emit('dispatch-worker', m.tenant_id, m.tenant, 'message_request.' || p_event,
    m.id::text, m.version, data);
  insert into dispatch.webhook_deliveries (tenant_id, webhook_code, event, body)
  select m.tenant_id, w.code, 'message_request.' || p_event, data
    from dispatch.webhooks w
   where w.tenant_id = m.tenant_id and w.disabled_at is null
     and 'message_request.' || p_event = any (w.events);
  if m.report_to is not null and (p_event <> 'dispatched' or m.generation > 1) then
    perform platform.enqueue_call('dispatch-worker', m.tenant_id, m.tenant, m.report_to,
      '/v1/internal/delivery', m.id::text, m.version, jsonb_build_object(
        'message_request_id', m.id, 'generation', m.generation, 'version', m.version,
        'status', m.status, 'provider_ts', m.provider_ts, 'error', m.last_error),
      gen_random_uuid());
  end if;
end
$$;
