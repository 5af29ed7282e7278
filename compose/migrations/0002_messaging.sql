-- Conversations, threads, messages, and the work of bots.
--
-- Lock order everywhere: conversation, then AI job, then thread. Who holds the conversation's row
-- decides about everything in it, so messages, jobs and answers of one conversation are serial.
-- Every hot write is one function; what it returns is what the answer and its replay are made of.

create schema messaging;

-- Configuration of bots: the bot, the AI behind it, the platform it speaks on. A token is not here:
-- platform.secrets holds it sealed, under kind 'core_ai' and the row's id.
create table messaging.core_ai (
  tenant_id uuid not null references platform.tenants,
  id uuid not null,
  name text not null,
  api_endpoint text not null,
  auth_required bool not null default false,
  timeout_seconds int not null default 30 check (timeout_seconds between 1 and 600),
  meta_data jsonb not null default '{}',
  updated_at timestamptz not null default now(),
  primary key (tenant_id, id)
);

create table messaging.platforms (
  tenant_id uuid not null references platform.tenants,
  id uuid not null,
  name text not null,
  description text not null default '',
  base_url text,
  auth_required bool not null default false,
  meta_data jsonb not null default '{}',
  updated_at timestamptz not null default now(),
  primary key (tenant_id, id)
);

create table messaging.bots (
  tenant_id uuid not null references platform.tenants,
  id uuid not null,
  name text not null,
  description text not null default '',
  language text not null default 'en',
  is_active bool not null default true,
  core_ai_id uuid,
  platform_id uuid,
  meta_data jsonb not null default '{}',
  updated_at timestamptz not null default now(),
  primary key (tenant_id, id),
  foreign key (tenant_id, core_ai_id) references messaging.core_ai,
  foreign key (tenant_id, platform_id) references messaging.platforms
);

-- What a tenant decides for all of its conversations. Without a row: no default bot of its own,
-- and the built-in one may answer.
create table messaging.tenant_settings (
  tenant_id uuid primary key references platform.tenants,
  default_bot_id uuid,
  allow_default_bot bool not null default true,
  -- So long after people got a conversation it goes back to the bot unless one of them has written;
  -- null: never.
  handoff_expires_after interval,
  -- Words beside the built-in ones that silence the bot, or ask for a person: {stop: […], agent: […]}.
  control_words jsonb not null default '{}',
  updated_at timestamptz not null default now(),
  foreign key (tenant_id, default_bot_id) references messaging.bots
);

-- The channels that messaging knows: dispatch-worker owns them and tells of every change.
create table messaging.channels (
  tenant_id uuid not null references platform.tenants,
  code text not null check (code ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
  kind text not null check (kind in ('local', 'slack', 'webhook')),
  workspace_code text,
  team_id text,
  provider_channel_id text,
  bot_id uuid,
  -- How bursts are answered here, where it differs: debounce_ms, debounce_max_ms, debounce_count.
  mailbox jsonb not null default '{}',
  -- How long a closed conversation is opened again by its contact's next message: 0 never, null
  -- always; after it the message begins a new conversation.
  reopen_window interval default '24 hours',
  version bigint not null default 0,
  updated_at timestamptz not null default now(),
  primary key (tenant_id, code),
  foreign key (tenant_id, bot_id) references messaging.bots
);
-- Slack names a channel by its own ids, before the tenant is known: this index is led by them.
create index channels_by_provider on messaging.channels (team_id, provider_channel_id)
  where team_id is not null;

create table messaging.contacts (
  tenant_id uuid not null,
  id uuid not null default platform.uuid_v7(),
  channel_code text not null,
  external_id text not null,
  name text,
  created_at timestamptz not null default now(),
  primary key (tenant_id, id),
  unique (tenant_id, channel_code, external_id)
);

-- A conversation (a room). The numbers of its mailbox stand here, so that one row orders everything:
--   last_user_seq  newest message of the contact
--   answered_seq   up to where the contact's messages are dealt with
--   bot_seq        up to where the bot's newest answer reaches
--   fence          counts holders of the bot's lock; a write of an older holder does not pass
--   thread_version counts changes of its threads; a choice made on an older one is made again
create table messaging.conversations (
  tenant_id uuid not null,
  id uuid not null default platform.uuid_v7(),
  channel_code text not null,
  contact_id uuid not null,
  external_id text,
  title text,
  state text not null default 'open' check (state in ('open', 'closed')),
  closed_at timestamptz check ((closed_at is null) = (state = 'open')),
  -- Who had it when it was closed: people are asked again when it opens again.
  closed_owner text,
  owner_kind text not null default 'bot' check (owner_kind in ('bot', 'human', 'none')),
  assignee_id uuid check (assignee_id is null or owner_kind = 'human'),
  session_id uuid,
  session_version bigint not null default 0,
  bot_id uuid,
  fence bigint not null default 0,
  next_seq bigint not null default 1,
  last_user_seq bigint not null default 0,
  answered_seq bigint not null default 0,
  bot_seq bigint not null default 0,
  supersedes int not null default 0,
  pending_count int not null default 0,
  pending_input jsonb,
  first_pending_at timestamptz,
  debounce_until timestamptz,
  -- When the conversation goes back to the bot unless somebody writes before.
  handoff_until timestamptz,
  thread_version bigint not null default 0,
  version bigint not null default 0,
  -- For an index: the numbers above change with every message, and a row whose indexed values do
  -- not change is updated without a touch of its indexes.
  awaits_bot bool not null generated always as
    (owner_kind = 'bot' and (last_user_seq > answered_seq or pending_input is not null)) stored,
  created_by text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, id)
) with (fillfactor = 80);
-- A contact has one open conversation on a channel, unless the channel names conversations itself.
create unique index conversations_open on messaging.conversations
  (tenant_id, channel_code, contact_id) where state = 'open' and external_id is null;
create unique index conversations_external on messaging.conversations
  (tenant_id, channel_code, external_id) where external_id is not null;
create index conversations_of_contact on messaging.conversations (tenant_id, contact_id, id);
-- The one that a contact's next message may open again.
create index conversations_closed on messaging.conversations
  (tenant_id, contact_id, closed_at desc) where state = 'closed' and external_id is null;
-- What the sweep looks for; a global scan of work, so it is not led by the tenant.
create index conversations_unanswered on messaging.conversations (tenant_id, id) where awaits_bot;
create index conversations_handoffs on messaging.conversations (handoff_until)
  where handoff_until is not null;

-- A topic inside a conversation, with what the score of a new message is computed from: term hashes
-- of the last 20 messages (4 bytes each, big-endian) and their mentions. The last 3 authors are kept
-- for versions of the score that count them.
create table messaging.threads (
  tenant_id uuid not null,
  id uuid not null default platform.uuid_v7(),
  conversation_id uuid not null,
  title text not null,
  is_manual bool not null default false,
  archived_at timestamptz,
  message_count int not null default 0,
  recent_terms bytea[] not null default '{}',
  recent_authors text[] not null default '{}',
  recent_mentions text[] not null default '{}',
  last_message_at timestamptz not null default now(),
  version bigint not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, id)
) with (fillfactor = 80);
create index threads_of_conversation on messaging.threads
  (tenant_id, conversation_id, last_message_at desc, id desc);

-- A message belongs to one thread at most: the row is the proof, thread_id is set once by a
-- conditional update and changed afterwards only by hand.
create table messaging.messages (
  tenant_id uuid not null,
  id uuid not null default platform.uuid_v7(),
  conversation_id uuid not null,
  seq bigint not null,
  channel_code text not null,
  direction text not null default 'in' check (direction in ('in', 'out')),
  sender_kind text not null check (sender_kind in ('contact', 'agent', 'bot')),
  sender_id text not null,
  text text not null,
  -- What came with the text: [{name, content_type?, url?}, …]; kept as it was given.
  attachments jsonb,
  external_id text,
  reply_to uuid,
  -- Where the provider shows it: the id of the message there that began the thread.
  provider_thread text,
  thread_id uuid,
  thread_state text not null check (thread_state in ('assigned', 'deferred', 'pending')),
  method text check (method in ('explicit', 'reply', 'similar', 'new_thread', 'manual')),
  score double precision,
  algorithm text,
  created_thread bool not null default false,
  -- Whether a job of the queue auto-assign-message was made for it.
  by_job bool not null default false,
  stale bool not null default false,
  ai_job_id uuid,
  message_request_id uuid,
  delivery_state text,
  delivery_generation bigint not null default 0,
  delivery_version bigint not null default 0,
  delivery_error text,
  provider_ts text,
  -- What the caller was told; kept where a repeat by external_id must be told the same.
  answer jsonb,
  created_by text,
  created_at timestamptz not null default now(),
  edited_at timestamptz,
  deleted_at timestamptz,
  primary key (tenant_id, id),
  unique (tenant_id, conversation_id, seq),
  check ((thread_state = 'assigned') = (thread_id is not null))
);
create unique index messages_external on messaging.messages (tenant_id, channel_code, external_id)
  where external_id is not null;
create unique index messages_request on messaging.messages (tenant_id, message_request_id)
  where message_request_id is not null;
create index messages_of_thread on messaging.messages (tenant_id, thread_id, seq)
  where thread_id is not null;

-- Messages that a process assigns at the moment, where no lock in Redis can say so. Advisory: that a
-- message gets one thread is the doing of its row, and what a dead process left runs out.
create table messaging.message_processing (
  tenant_id uuid not null,
  message_id uuid not null,
  until timestamptz not null,
  primary key (tenant_id, message_id)
);

-- One turn of a bot. At most one of a conversation lives: that row is the conversation's lock.
-- Ids are random (version 4), because they are handed out.
create table messaging.ai_jobs (
  tenant_id uuid not null,
  id uuid not null default gen_random_uuid(),
  tenant text not null,
  conversation_id uuid not null,
  lock_id uuid not null default gen_random_uuid(),
  fence bigint not null,
  upto_seq bigint not null,
  status text not null default 'pending' check (status in
    ('pending', 'processing', 'completed', 'failed', 'cancelled', 'superseded', 'expired')),
  consolidated_messages int not null default 1,
  attempts int not null default 0,
  -- A history that the caller brought along; without one the conversation's messages are it.
  input jsonb,
  worker text,
  due_at timestamptz not null default now(),
  lease_until timestamptz,
  heartbeat_at timestamptz,
  result jsonb,
  error text,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  finished_at timestamptz,
  primary key (tenant_id, id)
) with (fillfactor = 80);
create unique index ai_jobs_live on messaging.ai_jobs (tenant_id, conversation_id)
  where status in ('pending', 'processing');
-- Global due scans: led by the time, not by the tenant.
create index ai_jobs_due on messaging.ai_jobs (due_at) where status = 'pending';
create index ai_jobs_leases on messaging.ai_jobs (lease_until) where status = 'processing';
-- Ended jobs are kept for 30 days.
create index ai_jobs_ended on messaging.ai_jobs (finished_at) where finished_at is not null;

-- The processes that work on AI jobs. They work for every tenant, so no tenant leads the key.
create table messaging.ai_workers (
  worker text primary key,
  started_at timestamptz not null default now(),
  heartbeat_at timestamptz not null default now(),
  in_flight int not null,
  processed bigint not null,
  failed bigint not null
);

-- ---------------------------------------------------------------- How things look outside
-- One rendering for answers, replays and lists.

create function messaging.instant(p_at timestamptz) returns text language sql stable as $$
  select to_char(p_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

create function messaging.message_json(m messaging.messages) returns jsonb
language sql stable as $$
  select jsonb_build_object(
    'id', m.id, 'seq', m.seq, 'conversation_id', m.conversation_id, 'thread_id', m.thread_id,
    'thread_state', m.thread_state, 'method', m.method, 'direction', m.direction,
    'sender', jsonb_build_object('kind', m.sender_kind, 'id', m.sender_id), 'text', m.text,
    'attachments', coalesce(m.attachments, '[]'),
    'external_id', m.external_id, 'reply_to', m.reply_to, 'stale', m.stale,
    'ai_job_id', m.ai_job_id, 'created_at', messaging.instant(m.created_at),
    'edited_at', messaging.instant(m.edited_at),
    'delivery', case when m.message_request_id is not null then jsonb_build_object(
      'state', m.delivery_state, 'message_request_id', m.message_request_id,
      'provider_ts', m.provider_ts, 'error', m.delivery_error) end)
$$;

-- `assignment` of an answer; null while the message has no thread.
create function messaging.assignment_json(m messaging.messages, p_already bool) returns jsonb
language sql stable as $$
  select case when m.thread_id is not null then jsonb_build_object(
    'success', true, 'already_assigned', p_already, 'thread_id', m.thread_id,
    'created_thread', m.created_thread, 'method', m.method, 'score', coalesce(m.score, 0),
    'algorithm', m.algorithm) end
$$;

create function messaging.thread_json(t messaging.threads) returns jsonb
language sql stable as $$
  select jsonb_build_object(
    'id', t.id, 'conversation_id', t.conversation_id, 'title', t.title, 'manual', t.is_manual,
    'archived', t.archived_at is not null, 'message_count', t.message_count,
    'last_message_at', messaging.instant(t.last_message_at),
    'created_at', messaging.instant(t.created_at), 'updated_at', messaging.instant(t.updated_at))
$$;

create function messaging.conversation_json(c messaging.conversations, k messaging.contacts)
returns jsonb language sql stable as $$
  select jsonb_build_object(
    'id', c.id, 'channel_code', c.channel_code, 'external_id', c.external_id, 'title', c.title,
    'contact', jsonb_build_object('id', k.id, 'external_id', k.external_id, 'name', k.name),
    'state', c.state, 'owner_kind', c.owner_kind, 'assignee_id', c.assignee_id,
    'session_id', c.session_id, 'bot_id', c.bot_id, 'last_seq', c.next_seq - 1,
    'version', c.version, 'created_at', messaging.instant(c.created_at),
    'updated_at', messaging.instant(c.updated_at), 'closed_at', messaging.instant(c.closed_at))
$$;

create function messaging.ai_job_json(j messaging.ai_jobs) returns jsonb
language sql stable as $$
  select jsonb_build_object(
    'id', j.id, 'conversation_id', j.conversation_id, 'status', j.status,
    'consolidated_messages', j.consolidated_messages, 'attempts', j.attempts,
    'progress', case j.status when 'pending' then 0 when 'processing' then 0.5 else 1 end,
    'result', j.result, 'error', j.error, 'created_at', messaging.instant(j.created_at),
    'started_at', messaging.instant(j.started_at), 'finished_at', messaging.instant(j.finished_at))
$$;

-- ---------------------------------------------------------------- Inside of the functions

-- The bot of a conversation: its own, else its channel's, else its tenant's; null when none is set.
create function messaging.bot_of(p_tenant uuid, p_bot uuid, p_channel text) returns messaging.bots
language sql stable as $$
  select b.* from messaging.bots b
   where b.tenant_id = p_tenant and b.id = coalesce(p_bot,
     (select bot_id from messaging.channels where tenant_id = p_tenant and code = p_channel),
     (select default_bot_id from messaging.tenant_settings where tenant_id = p_tenant))
$$;

-- Whether a bot may answer at all: an active one, or the built-in one where the tenant allows it.
create function messaging.bot_is_on(p_tenant uuid, p_bot uuid, p_channel text) returns bool
language sql stable as $$
  select coalesce(
    (select b.is_active from messaging.bot_of(p_tenant, p_bot, p_channel) b where b.id is not null),
    (select allow_default_bot from messaging.tenant_settings where tenant_id = p_tenant), true)
$$;

-- Several events of one key in one statement: [[name, data], …].
create function messaging.emit(
  p_tenant uuid, p_code text, p_key uuid, p_version bigint, p_events jsonb
) returns void language plpgsql as $$
begin
  insert into platform.outbox (source, tenant_id, tenant, kind, target, key, key_version, payload)
  select 'messaging', p_tenant, p_code, 'event', e.value ->> 0, p_key::text, p_version, e.value -> 1
    from jsonb_array_elements(p_events) with ordinality as e (value, n) order by e.n;
end
$$;

-- Puts a message's features into its thread. The caller holds the conversation's row.
create function messaging.touch_thread(
  p_tenant uuid, p_thread uuid, p_terms bytea, p_author text, p_mentions text[]
) returns void language plpgsql as $$
begin
    update messaging.threads t set
      message_count = t.message_count + 1, version = t.version + 1,
      recent_terms = (t.recent_terms || p_terms)[greatest(1, cardinality(t.recent_terms) - 18):],
      recent_authors =
        (t.recent_authors || p_author)[greatest(1, cardinality(t.recent_authors) - 1):],
      recent_mentions = (select coalesce(array_agg(distinct x.m), '{}') from (
        select m from unnest(p_mentions || t.recent_mentions) with ordinality as u (m, n)
         order by n limit 32) x),
      last_message_at = now(), updated_at = now()
    where t.tenant_id = p_tenant and t.id = p_thread;
end
$$;

-- Makes the next job of a conversation whose row the caller holds and which has no live job.
-- `p_input` is a history that the caller brought along, or null.
create function messaging.make_ai_job(
  p_tenant uuid, p_code text, p_conversation uuid, p_fence bigint, p_upto bigint,
  p_consolidated int, p_input jsonb, p_due timestamptz, p_version bigint
) returns messaging.ai_jobs language plpgsql as $$
declare
  j messaging.ai_jobs;
begin
  insert into messaging.ai_jobs
    (tenant_id, tenant, conversation_id, fence, upto_seq, consolidated_messages, input, due_at)
  values (p_tenant, p_code, p_conversation, p_fence, p_upto, greatest(1, p_consolidated), p_input,
          p_due)
  returning * into j;
  perform platform.emit('messaging', p_tenant, p_code, 'ai_job.created', p_conversation::text,
    p_version, jsonb_build_object('ai_job_id', j.id, 'conversation_id', p_conversation));
  return j;
end
$$;

-- Ends a live job in a state other than completed. The caller holds the conversation's row.
create function messaging.end_ai_job(
  j messaging.ai_jobs, p_status text, p_error text, p_result jsonb, p_version bigint
) returns void language plpgsql as $$
begin
  update messaging.ai_jobs set status = p_status, error = p_error,
         result = coalesce(p_result, result), finished_at = now(), lease_until = null
   where tenant_id = j.tenant_id and id = j.id;
  perform platform.emit('messaging', j.tenant_id, j.tenant,
    'ai_job.' || case p_status when 'expired' then 'failed' else p_status end,
    j.conversation_id::text, p_version,
    jsonb_build_object('ai_job_id', j.id, 'conversation_id', j.conversation_id,
                       'status', p_status));
end
$$;

-- Cancels the live job of a conversation, if there is one, and empties the bot's buffer: everything
-- up to now counts as dealt with. The caller holds the row. Returns the cancelled job's id.
create function messaging.silence_bot(p_tenant uuid, p_conversation uuid, p_reason text)
returns uuid language plpgsql as $$
declare
  j messaging.ai_jobs;
  v bigint;
begin
  update messaging.conversations set fence = fence + 1, answered_seq = last_user_seq,
         pending_count = 0, pending_input = null, first_pending_at = null, debounce_until = null,
         supersedes = 0
   where tenant_id = p_tenant and id = p_conversation returning version into v;
  select * into j from messaging.ai_jobs
   where tenant_id = p_tenant and conversation_id = p_conversation
     and status in ('pending', 'processing') for update;
  if not found then return null; end if;
  perform messaging.end_ai_job(j, 'cancelled', p_reason, null, v);
  return j.id;
end
$$;

-- Takes a conversation from the bot and asks assignment-engine for a person. The caller holds the row
-- `c` and writes its version itself. `p_team` may be null.
create function messaging.ask_for_person(
  c messaging.conversations, p_code text, p_reason text, p_team text, p_version bigint
) returns void language plpgsql as $$
begin
  perform messaging.silence_bot(c.tenant_id, c.id, p_reason);
  update messaging.conversations set owner_kind = 'none' where tenant_id = c.tenant_id and id = c.id;
  perform platform.enqueue_call('messaging', c.tenant_id, p_code, 'assignment-engine',
    '/v1/sessions', c.id::text, p_version,
    jsonb_strip_nulls(jsonb_build_object('conversation_id', c.id, 'contact_id', c.contact_id,
      'source', 'handover', 'team_id', p_team,
      'context', jsonb_build_object('reason', p_reason))),
    gen_random_uuid());
  perform platform.emit('messaging', c.tenant_id, p_code, 'conversation.owner', c.id::text,
    p_version, jsonb_build_object('conversation_id', c.id, 'owner_kind', 'none',
      'assignee_id', null, 'reason', p_reason));
end
$$;

-- ---------------------------------------------------------------- Conversations

-- Finds or makes a contact's open conversation on a channel, or the one that `p_external` names.
-- Callers that race get the same one. One that was closed and may be opened again by a message is
-- found as well, closed as it is. Fills a name, title or bot that was not there yet.
-- outcome: 'created' | 'found' (answer = conversation_json) | 'unknown_channel' | 'unknown_bot'
create function messaging.open_conversation(
  p_tenant uuid, p_channel text, p_contact text, p_name text, p_external text, p_bot uuid,
  p_title text, p_actor text, out outcome text, out answer jsonb
) language plpgsql as $$
declare
  k messaging.contacts;
  c messaging.conversations;
begin
  perform 1 from messaging.channels where tenant_id = p_tenant and code = p_channel;
  if not found then outcome := 'unknown_channel'; return; end if;
  if p_bot is not null then
    perform 1 from messaging.bots where tenant_id = p_tenant and id = p_bot;
    if not found then outcome := 'unknown_bot'; return; end if;
  end if;
  -- The contact's row is locked by this: callers that race for one contact go one by one.
  insert into messaging.contacts as x (tenant_id, channel_code, external_id, name)
  values (p_tenant, p_channel, p_contact, p_name)
  on conflict (tenant_id, channel_code, external_id)
    do update set name = coalesce(excluded.name, x.name)
  returning * into k;
  select * into c from messaging.conversations
   where tenant_id = p_tenant and channel_code = p_channel
     and case when p_external is null
           then contact_id = k.id and state = 'open' and external_id is null
           else external_id = p_external end;
  if not found and p_external is null then
    select x.* into c from messaging.conversations x
     where x.tenant_id = p_tenant and x.contact_id = k.id and x.state = 'closed'
       and x.external_id is null and messaging.may_reopen(x)
     order by x.closed_at desc limit 1;
  end if;
  outcome := 'found';
  if c.id is null then
    insert into messaging.conversations
      (tenant_id, channel_code, contact_id, external_id, title, bot_id, created_by)
    values (p_tenant, p_channel, k.id, p_external, p_title, p_bot, p_actor)
    on conflict do nothing returning * into c;
    if found then
      outcome := 'created';
      perform platform.note_audit(p_tenant, p_actor, 'conversation.open', c.id::text, null,
        jsonb_build_object('channel_code', p_channel, 'contact_id', k.id), null, null);
    else
      -- Another contact's caller made the one of this external id a moment ago.
      select * into c from messaging.conversations
       where tenant_id = p_tenant and channel_code = p_channel and external_id = p_external;
    end if;
  end if;
  if c.contact_id <> k.id then
    select * into k from messaging.contacts where tenant_id = p_tenant and id = c.contact_id;
  end if;
  answer := messaging.conversation_json(c, k);
end
$$;

-- What a choice of thread is made from: the version to name when it is written, and the 20 threads
-- that were written to last. Null when there is no such conversation. A read; changes nothing.
-- (plpgsql keeps the plan; planned with each call it takes six times as long.)
create function messaging.conversation_snapshot(p_tenant uuid, p_conversation uuid) returns jsonb
language plpgsql stable as $$
begin
  return (
    select jsonb_build_object(
      'thread_version', c.thread_version, 'owner_kind', c.owner_kind, 'state', c.state,
      'now_ms', (extract(epoch from clock_timestamp()) * 1000)::bigint,
      'threads', coalesce((select jsonb_agg(jsonb_build_object(
          'id', t.id, 'mentions', to_jsonb(t.recent_mentions),
          'last_ms', (extract(epoch from t.last_message_at) * 1000)::bigint,
          'terms', (select coalesce(jsonb_agg(encode(x, 'hex')), '[]') from unnest(t.recent_terms) x))
          order by t.last_message_at desc, t.id desc)
        from (select * from messaging.threads
               where tenant_id = p_tenant and conversation_id = p_conversation
                 and archived_at is null
               order by last_message_at desc, id desc limit 20) t), '[]'))
    from messaging.conversations c where c.tenant_id = p_tenant and c.id = p_conversation);
end
$$;

-- A message with the snapshot of its conversation, for the assignment of one that is stored.
create function messaging.message_snapshot(p_tenant uuid, p_message uuid) returns jsonb
language sql stable as $$
  select jsonb_build_object(
    'conversation_id', m.conversation_id, 'text', m.text, 'sender_kind', m.sender_kind,
    'sender_id', m.sender_id, 'thread_id', m.thread_id,
    'assignment', messaging.assignment_json(m, true),
    'snapshot', messaging.conversation_snapshot(p_tenant, m.conversation_id))
  from messaging.messages m
  where m.tenant_id = p_tenant and m.id = p_message and m.deleted_at is null
$$;

-- Settles which thread a message goes to; makes it when it is a new one. The caller holds the
-- conversation's row. What the caller names comes first, then the thread of the message replied to,
-- then the choice made outside, which must rest on the threads as they are (or p_force).
-- outcome: 'ok' | 'stale' | 'invalid' (pointer, detail)
create function messaging.settle_thread(
  c messaging.conversations, p_explicit uuid, p_reply_to uuid, p_choice text, p_choice_thread uuid,
  p_score float8, p_seen bigint, p_force bool, p_title text,
  out outcome text, out thread uuid, out method text, out score float8, out created bool,
  out pointer text, out detail text
) language plpgsql as $$
declare
  t record;
begin
  outcome := 'ok';
  created := false;
  score := 0;
  if p_explicit is not null then
    select archived_at into t from messaging.threads
     where tenant_id = c.tenant_id and id = p_explicit and conversation_id = c.id;
    if not found or t.archived_at is not null then
      outcome := 'invalid';
      pointer := '/thread_id';
      detail := case when found then 'names an archived thread'
                     else 'names no thread of this conversation' end;
    end if;
    thread := p_explicit;
    method := 'explicit';
    return;
  end if;
  if p_reply_to is not null then
    select h.id as thread_id, h.archived_at into t
      from messaging.messages m left join messaging.threads h
        on h.tenant_id = m.tenant_id and h.id = m.thread_id
     where m.tenant_id = c.tenant_id and m.id = p_reply_to and m.conversation_id = c.id;
    if not found then
      outcome := 'invalid';
      pointer := '/reply_to';
      detail := 'names no message of this conversation';
      return;
    end if;
    if t.thread_id is not null and t.archived_at is null then
      thread := t.thread_id;
      method := 'reply';
      return;
    end if;
  end if;
  if p_choice is null or (p_seen is distinct from c.thread_version and not p_force) then
    outcome := 'stale';
    return;
  end if;
  if p_choice = 'similar' then
    select id into thread from messaging.threads
     where tenant_id = c.tenant_id and id = p_choice_thread and conversation_id = c.id
       and archived_at is null;
    if found then
      method := 'similar';
      score := p_score;
      return;
    end if;
  end if;
  -- A new thread has its id from outside, so that messages written with this one could choose it.
  insert into messaging.threads (tenant_id, id, conversation_id, title)
  values (c.tenant_id,
    coalesce(case p_choice when 'new_thread' then p_choice_thread end, platform.uuid_v7()),
    c.id, p_title)
  returning id into thread;
  method := 'new_thread';
  created := true;
end
$$;

-- ---------------------------------------------------------------- Posting a message

-- Gives a contact's new message to the bot's mailbox: silence, join the job that waits, wait behind
-- the one that runs, or make one. The caller holds the conversation's row `c` (as it was before the
-- message) and writes seq and version itself; everything else about the mailbox is written here.
-- With p_flush nothing more is waited for. Returns `bot` of the answer.
create function messaging.feed_bot(
  c messaging.conversations, p_code text, p_seq bigint, p_control text, p_flush bool,
  p_debounce interval, p_debounce_max interval, p_debounce_count int
) returns jsonb language plpgsql as $$
declare
  j messaging.ai_jobs;
  started timestamptz := coalesce(c.first_pending_at, now());
  due timestamptz;
  waiting int := c.pending_count + 1;
  mailbox jsonb;
begin
  if p_control is not null then
    j.id := messaging.silence_bot(c.tenant_id, c.id, 'control word');
    if p_control = 'agent' and c.owner_kind = 'bot' then
      perform messaging.ask_for_person(c, p_code, 'asked for a person', null, c.version + 1);
    end if;
    return jsonb_build_object('ai_job_id', j.id, 'status', case
      when p_control = 'agent' or c.owner_kind <> 'bot' then 'human' else 'stopped' end);
  end if;
  if c.owner_kind <> 'bot' or not messaging.bot_is_on(c.tenant_id, c.bot_id, c.channel_code) then
    update messaging.conversations set answered_seq = p_seq
     where tenant_id = c.tenant_id and id = c.id;
    return jsonb_build_object(
      'status', case when c.owner_kind <> 'bot' then 'human' else 'off' end);
  end if;
  select h.mailbox into mailbox from messaging.channels h
   where h.tenant_id = c.tenant_id and h.code = c.channel_code;
  due := case when p_flush
      or waiting >= coalesce((mailbox ->> 'debounce_count')::int, p_debounce_count)
    then now() else least(
      now() + coalesce((mailbox ->> 'debounce_ms')::int * interval '1 ms', p_debounce),
      started + coalesce((mailbox ->> 'debounce_max_ms')::int * interval '1 ms', p_debounce_max))
    end;
  select * into j from messaging.ai_jobs
   where tenant_id = c.tenant_id and conversation_id = c.id
     and status in ('pending', 'processing') for update;
  update messaging.conversations set pending_count = waiting, first_pending_at = started,
         debounce_until = due, fence = fence + case when j.id is null then 1 else 0 end
   where tenant_id = c.tenant_id and id = c.id;
  if j.id is null then
    j := messaging.make_ai_job(c.tenant_id, p_code, c.id, c.fence + 1, p_seq, waiting, null, due,
      c.version + 1);
    return jsonb_build_object('status', 'ai_processing_started', 'ai_job_id', j.id,
      'lock_id', j.lock_id, 'consolidated_messages', j.consolidated_messages);
  elsif j.status = 'pending' then
    -- A job that waits for its next try keeps its pause, and one that is due stays so.
    update messaging.ai_jobs set upto_seq = p_seq,
           consolidated_messages = consolidated_messages + 1,
           due_at = case when attempts = 0 and due_at > now() then due else due_at end
     where tenant_id = j.tenant_id and id = j.id returning * into j;
    return jsonb_build_object('status', 'buffered', 'ai_job_id', j.id,
      'consolidated_messages', j.consolidated_messages);
  end if;
  return jsonb_build_object('status', 'locked', 'ai_job_id', j.id, 'pending_count', waiting);
end
$$;

-- The contact is still writing: the job that waits for the rest of the burst waits on, never past the
-- burst's cap. outcome: 'noted' (answer = {extended, answer_in_ms}) | 'not_found'
create function messaging.note_typing(
  p_tenant uuid, p_conversation uuid, p_debounce interval, p_debounce_max interval,
  out outcome text, out answer jsonb
) language plpgsql as $$
declare
  c messaging.conversations;
  due timestamptz;
  was timestamptz;
begin
  select * into c from messaging.conversations
   where tenant_id = p_tenant and id = p_conversation for update;
  if not found then outcome := 'not_found'; return; end if;
  outcome := 'noted';
  select least(
      now() + coalesce((h.mailbox ->> 'debounce_ms')::int * interval '1 ms', p_debounce),
      c.first_pending_at
        + coalesce((h.mailbox ->> 'debounce_max_ms')::int * interval '1 ms', p_debounce_max))
    into due from (select) as one
    left join messaging.channels h on h.tenant_id = c.tenant_id and h.code = c.channel_code;
  select due_at into was from messaging.ai_jobs
   where tenant_id = c.tenant_id and conversation_id = c.id and status = 'pending'
     and attempts = 0 and due_at > now() and c.first_pending_at is not null for update;
  if due > was then
    update messaging.ai_jobs set due_at = due
     where tenant_id = c.tenant_id and conversation_id = c.id and status = 'pending';
    update messaging.conversations set debounce_until = due
     where tenant_id = c.tenant_id and id = c.id;
  end if;
  answer := jsonb_build_object('extended', coalesce(due > was, false), 'answer_in_ms',
    (extract(epoch from case when was is not null then greatest(due, was) end - now())
      * 1000)::bigint);
end
$$;

-- Stores a message, with all that follows from it, in one round trip.
--
-- p_key … p_body_hash: the idempotency key, or null. p_deferred: the room's limit is reached, and
-- the assignment comes after this long. p_choice …: the thread that was chosen outside on the
-- snapshot of version p_seen; p_force takes it although the threads have changed since, if it can.
-- p_attachments: what came with the text; the bot then waits for no more. p_provider_thread: where
-- the provider shows it.
--
-- outcome: 'created'       answer is stored and to be sent with 201; bot is that part of it,
--                         with where it was stored and whether the bot waits for no more
--          'replayed'      by key: the first answer, 201; 'duplicate': by external_id, 200
--          'stale_choice'  nothing was written; snapshot is fresh: choose again
--          'invalid'       answer = {pointer, detail}; nothing was written
--          'elsewhere'     the conversation is closed for good: the message belongs into the open
--                          one of answer = {channel_code, contact, bot_id}; nothing was written
--          'not_found' | 'closed' | 'reused' | 'in_progress'
-- A contact's message opens a conversation again that was closed less than its channel's window ago.
--
-- With p_choice 'async' and p_deferred the message is 'pending', until a job assigns it.
create function messaging.post_message(
  p_tenant uuid, p_code text, p_conversation uuid, p_message uuid, p_sender_kind text,
  p_sender_id text, p_text text, p_external text, p_reply_to uuid, p_thread uuid, p_choice text,
  p_choice_thread uuid, p_score float8, p_seen bigint, p_force bool, p_title text,
  p_algorithm text, p_terms bytea, p_mentions text[], p_deferred interval, p_control text,
  p_debounce interval, p_debounce_max interval, p_debounce_count int, p_key text, p_method text,
  p_path text, p_body_hash bytea, p_actor text, p_attachments jsonb default null,
  p_provider_thread text default null,
  out outcome text, out answer jsonb, out snapshot jsonb, out bot jsonb
) language plpgsql as $$
declare
  known record;
  c messaging.conversations;
  m messaging.messages;
  s record;
begin
  if p_key is not null then
    select * into known from platform.idempotency_look(
      p_tenant, p_key, p_method, p_path, p_body_hash);
    if known.state not in ('new', 'expired') then
      outcome := case known.state when 'done' then 'replayed' else known.state end;
      answer := known.result;
      return;
    end if;
  end if;
  select * into c from messaging.conversations
   where tenant_id = p_tenant and id = p_conversation for update;
  if not found then
    outcome := 'not_found';
  else
    if p_external is not null then
      select q.answer into answer from messaging.messages q
       where q.tenant_id = p_tenant and q.channel_code = c.channel_code
         and q.external_id = p_external;
      if found then outcome := 'duplicate'; end if;
    end if;
    if c.state = 'closed' and outcome is null then
      if p_sender_kind <> 'contact' then
        outcome := 'closed';
      else
        c := messaging.reopen(c, p_code, p_actor);
        if c.state = 'closed' then
          outcome := 'elsewhere';
          answer := messaging.contact_of(c);
        end if;
      end if;
    end if;
  end if;
  if outcome is null then
    select * into s from messaging.settle_thread(c, p_thread, p_reply_to,
      p_choice, p_choice_thread, p_score, p_seen, p_force, p_title)
     where p_deferred is null or p_thread is not null;
    if s.outcome = 'invalid' then
      outcome := 'invalid';
      answer := jsonb_build_object('pointer', s.pointer, 'detail', s.detail);
    elsif s.outcome = 'stale' then
      outcome := 'stale_choice';
      snapshot := messaging.conversation_snapshot(p_tenant, p_conversation);
    end if;
  end if;
  if outcome is not null then
    if p_key is not null and outcome = 'duplicate' then
      perform platform.idempotency_keep(
        p_tenant, p_key, p_method, p_path, p_body_hash, answer, 200);
    end if;
    return;
  end if;
  insert into messaging.messages
    (tenant_id, id, conversation_id, seq, channel_code, direction, sender_kind, sender_id, text,
     attachments, external_id, reply_to, provider_thread, thread_id, thread_state, method, score,
     algorithm, created_thread, by_job, created_by)
  values (p_tenant, p_message, c.id, c.next_seq, c.channel_code,
    case p_sender_kind when 'contact' then 'in' else 'out' end, p_sender_kind, p_sender_id, p_text,
    p_attachments, p_external, p_reply_to, p_provider_thread, s.thread,
    case when s.thread is not null then 'assigned' when p_choice = 'async' then 'pending'
      else 'deferred' end,
    s.method, s.score, case when s.thread is not null then p_algorithm end,
    coalesce(s.created, false), coalesce(p_choice = 'async', false), p_actor)
  returning * into m;
  if m.thread_id is not null then
    perform messaging.touch_thread(p_tenant, m.thread_id, p_terms, p_sender_id, p_mentions);
  else
    perform platform.set_timer('messaging', p_tenant, p_code, 'rate_deferred', m.id, 0,
      now() + p_deferred, jsonb_build_object('conversation_id', c.id));
  end if;
  perform messaging.emit(p_tenant, p_code, c.id, c.version + 1, jsonb_build_array(
    jsonb_build_array('message.created', jsonb_build_object('message_id', m.id, 'seq', m.seq,
      'conversation_id', c.id, 'sender_kind', p_sender_kind, 'direction', m.direction)))
    || case when m.thread_state = 'pending' then '[]' else jsonb_build_array(
    jsonb_build_array('message.' || m.thread_state, jsonb_build_object('message_id', m.id,
      'conversation_id', c.id, 'thread_id', m.thread_id, 'method', m.method))) end);
  update messaging.conversations set next_seq = next_seq + 1, version = version + 1,
         updated_at = now(),
         last_user_seq = case when p_sender_kind = 'contact' then m.seq else last_user_seq end,
         handoff_until = case when p_sender_kind = 'agent' then null else handoff_until end,
         thread_version = thread_version + case when m.thread_id is null then 0 else 1 end
   where tenant_id = p_tenant and id = c.id;
  if p_sender_kind = 'contact' then
    bot := messaging.feed_bot(c, p_code, m.seq, p_control, p_attachments is not null, p_debounce,
      p_debounce_max, p_debounce_count);
  else
    bot := jsonb_build_object(
      'status', case when c.owner_kind = 'bot' then 'off' else 'human' end);
  end if;
  perform platform.note_audit(p_tenant, p_actor, 'message.post', m.id::text, null,
    jsonb_build_object('conversation_id', c.id, 'thread_id', m.thread_id), null, null);
  outcome := 'created';
  answer := jsonb_build_object('message', messaging.message_json(m),
    'assignment', messaging.assignment_json(m, false), 'bot', bot);
  bot := bot || jsonb_build_object(
    'conversation_id', c.id, 'is_last', p_attachments is not null);
  if p_external is not null then
    update messaging.messages q set answer = post_message.answer
     where q.tenant_id = p_tenant and q.id = m.id;
  end if;
  if p_key is not null then
    perform platform.idempotency_keep(
      p_tenant, p_key, p_method, p_path, p_body_hash, answer, 201);
  end if;
end
$$;

-- Stores several messages of one conversation, in their order, in one round trip and one flush.
--
-- p_items: an array of objects, each with what post_message takes. One row for each, as post_message
-- answers: what is wrong with one is its outcome and does not touch its neighbours. An error that is
-- no outcome takes the whole statement along, and the caller tries each alone.
--
-- The choices rest on the threads of version p_seen (null: nothing was chosen), each on those before
-- it. When that is not the version, nothing is written and the only row says 'stale_choice'.
create function messaging.post_messages(
  p_tenant uuid, p_code text, p_conversation uuid, p_seen bigint, p_force bool, p_algorithm text,
  p_debounce interval, p_debounce_max interval, p_debounce_count int, p_items jsonb
) returns table (outcome text, answer jsonb, snapshot jsonb, bot jsonb) language plpgsql as $$
declare
  version bigint;
  i record;
begin
  select thread_version into version from messaging.conversations
   where tenant_id = p_tenant and id = p_conversation for update;
  if p_seen is not null and p_seen <> version and not p_force then
    outcome := 'stale_choice';
    snapshot := messaging.conversation_snapshot(p_tenant, p_conversation);
    return next;
    return;
  end if;
  for i in select * from rows from (jsonb_to_recordset(p_items) as (
      id uuid, sender_kind text, sender_id text, text text, external_id text, reply_to uuid,
      thread uuid, choice text, choice_thread uuid, score float8, title text, terms text,
      mentions text[], deferred interval, control text, key text, method text, path text,
      body_hash text, actor text, attachments jsonb, provider_thread text)) with ordinality
     order by ordinality
  loop
    select p.outcome, p.answer, p.bot into outcome, answer, bot from messaging.post_message(
      p_tenant, p_code, p_conversation, i.id, i.sender_kind, i.sender_id, i.text, i.external_id,
      i.reply_to, i.thread, i.choice, i.choice_thread, i.score, p_seen, true, i.title, p_algorithm,
      decode(i.terms, 'hex'), i.mentions, i.deferred, i.control, p_debounce, p_debounce_max,
      p_debounce_count, i.key, i.method, i.path, decode(i.body_hash, 'hex'), i.actor,
      i.attachments, i.provider_thread) p;
    return next;
  end loop;
end
$$;

-- Notes that a message is worked on, and forgets a few of those whose time is over.
create function messaging.begin_processing(p_tenant uuid, p_message uuid, p_ttl interval)
returns void language sql as $$
  delete from messaging.message_processing p using (
    select tenant_id, message_id from messaging.message_processing
     where until < now() limit 10 for update skip locked) d
   where p.tenant_id = d.tenant_id and p.message_id = d.message_id;
  insert into messaging.message_processing values (p_tenant, p_message, now() + p_ttl)
  on conflict (tenant_id, message_id) do update set until = excluded.until
$$;

-- Assigns a stored message to a thread, once. Arguments as in post_message.
-- outcome: 'assigned' | 'already' (answer = assignment_json) | 'stale_choice' | 'not_found'
create function messaging.auto_assign(
  p_tenant uuid, p_code text, p_message uuid, p_choice text, p_choice_thread uuid, p_score float8,
  p_seen bigint, p_force bool, p_title text, p_algorithm text, p_terms bytea, p_mentions text[],
  p_actor text, out outcome text, out answer jsonb, out snapshot jsonb
) language plpgsql as $$
declare
  c messaging.conversations;
  m messaging.messages;
  s record;
begin
  select x.* into c from messaging.conversations x
   where x.tenant_id = p_tenant and x.id = (select q.conversation_id from messaging.messages q
     where q.tenant_id = p_tenant and q.id = p_message and q.deleted_at is null) for update;
  if not found then outcome := 'not_found'; return; end if;
  -- Read after the lock: whoever held it may have assigned the message.
  select * into m from messaging.messages q where q.tenant_id = p_tenant and q.id = p_message;
  if m.thread_id is not null then
    outcome := 'already';
    answer := messaging.assignment_json(m, true);
    return;
  end if;
  select * into s from messaging.settle_thread(c, null, m.reply_to, p_choice, p_choice_thread,
    p_score, p_seen, p_force, p_title);
  if s.outcome = 'stale' then
    outcome := 'stale_choice';
    snapshot := messaging.conversation_snapshot(p_tenant, c.id);
    return;
  end if;
  update messaging.messages q set thread_id = s.thread, thread_state = 'assigned',
         method = s.method, score = s.score, algorithm = p_algorithm, created_thread = s.created
   where q.tenant_id = p_tenant and q.id = p_message and q.thread_id is null
   returning q.* into m;
  perform messaging.touch_thread(p_tenant, s.thread, p_terms, m.sender_id, p_mentions);
  delete from platform.timers
   where tenant_id = p_tenant and ref_id = p_message and kind = 'rate_deferred';
  update messaging.conversations x set thread_version = x.thread_version + 1,
         version = x.version + 1, updated_at = now()
   where x.tenant_id = p_tenant and x.id = c.id;
  perform messaging.emit(p_tenant, p_code, c.id, c.version + 1, jsonb_build_array(
    jsonb_build_array('message.assigned', jsonb_build_object('message_id', m.id,
      'conversation_id', c.id, 'thread_id', m.thread_id, 'method', m.method))));
  perform platform.note_audit(p_tenant, p_actor, 'message.assign', m.id::text, null,
    jsonb_build_object('thread_id', m.thread_id, 'method', m.method), null, null);
  outcome := 'assigned';
  answer := messaging.assignment_json(m, false);
end
$$;

-- ---------------------------------------------------------------- Going out

-- Asks dispatch-worker to deliver a message that was stored in this transaction, under the request's
-- id that it carries; `v` is its conversation's version. Messages of a conversation go out in order.
create function messaging.send_out(m messaging.messages, p_code text, v bigint) returns void
language sql as $$
  select platform.enqueue_call('messaging', m.tenant_id, p_code, 'dispatch-worker',
    '/v1/message-requests', m.conversation_id::text, v,
    jsonb_strip_nulls(jsonb_build_object('id', m.message_request_id,
      'channel_code', m.channel_code, 'text', m.text, 'thread_key', m.conversation_id,
      'thread_ts', m.provider_thread, 'metadata',
      jsonb_build_object('message_id', m.id, 'conversation_id', m.conversation_id))),
    m.message_request_id)
$$;

-- Where the provider shows what a contact wrote: in p_thread, else last.
create function messaging.provider_thread(
  p_tenant uuid, p_conversation uuid, p_thread uuid, p_last bigint
) returns text language sql stable as $$
  select coalesce(
    (select provider_thread from messaging.messages
      where tenant_id = p_tenant and thread_id = p_thread and provider_thread is not null
        and sender_kind = 'contact' order by seq desc limit 1),
    (select provider_thread from messaging.messages
      where tenant_id = p_tenant and conversation_id = p_conversation and seq = p_last))
$$;

-- Stores what an agent answers and asks dispatch-worker to deliver it; both commit together. The
-- message request's id is chosen here, so that the answer can name it before it is delivered. So
-- does the idempotency key, as in post_message: whoever repeats after a crash gets the same reply.
-- outcome: 'created' (answer) | 'replayed' (answer) | 'reused' | 'in_progress' | 'not_found'
--        | 'closed' | 'invalid' (answer = {pointer, detail})
create function messaging.store_reply(
  p_tenant uuid, p_code text, p_conversation uuid, p_sender_kind text, p_sender_id text,
  p_text text, p_thread uuid, p_terms bytea, p_mentions text[], p_actor text,
  p_key text, p_method text, p_path text, p_body_hash bytea,
  out outcome text, out answer jsonb
) language plpgsql as $$
declare
  known record;
  c messaging.conversations;
  m messaging.messages;
  s record;
  v_thread uuid;
begin
  if p_key is not null then
    select * into known from platform.idempotency_begin(
      p_tenant, p_key, p_method, p_path, p_body_hash, null);
    if known.state <> 'started' then
      outcome := case known.state when 'done' then 'replayed' else known.state end;
      answer := known.result;
      return;
    end if;
  end if;
  select * into c from messaging.conversations
   where tenant_id = p_tenant and id = p_conversation for update;
  if not found then
    outcome := 'not_found';
  elsif c.state = 'closed' then
    outcome := 'closed';
  elsif p_thread is not null then
    select * into s from messaging.settle_thread(
      c, p_thread, null, null, null, null, null, false, null);
    if s.outcome = 'invalid' then
      outcome := 'invalid';
      answer := jsonb_build_object('pointer', s.pointer, 'detail', s.detail);
    end if;
    v_thread := p_thread;
  end if;
  if outcome is not null then
    if p_key is not null then
      perform platform.idempotency_abandon(p_tenant, p_key, p_method, p_path);
    end if;
    return;
  end if;
  if p_thread is null then
    -- Without a word from the agent the reply belongs to what the contact wrote last.
    select q.thread_id into v_thread from messaging.messages q
     where q.tenant_id = p_tenant and q.conversation_id = c.id and q.seq = c.last_user_seq;
  end if;
  insert into messaging.messages
    (tenant_id, conversation_id, seq, channel_code, direction, sender_kind, sender_id, text,
     provider_thread, thread_id, thread_state, method, score, message_request_id, delivery_state,
     created_by)
  values (p_tenant, c.id, c.next_seq, c.channel_code, 'out', p_sender_kind, p_sender_id, p_text,
    messaging.provider_thread(p_tenant, c.id, p_thread, c.last_user_seq), v_thread, case when v_thread is null then 'pending' else 'assigned' end,
    case when v_thread is null then null when p_thread is null then 'reply' else 'explicit' end, 0,
    gen_random_uuid(), 'pending', p_actor)
  returning * into m;
  if v_thread is not null then
    perform messaging.touch_thread(p_tenant, v_thread, p_terms, p_sender_id, p_mentions);
  end if;
  update messaging.conversations set next_seq = next_seq + 1, version = version + 1,
         updated_at = now(), handoff_until = null,
         thread_version = thread_version + case when v_thread is null then 0 else 1 end
   where tenant_id = p_tenant and id = c.id;
  perform messaging.emit(p_tenant, p_code, c.id, c.version + 1, jsonb_build_array(
    jsonb_build_array('message.created', jsonb_build_object('message_id', m.id, 'seq', m.seq,
      'conversation_id', c.id, 'sender_kind', p_sender_kind, 'direction', 'out'))));
  perform messaging.send_out(m, p_code, c.version + 1);
  perform platform.note_audit(p_tenant, p_actor, 'message.reply', m.id::text, null,
    jsonb_build_object('conversation_id', c.id, 'message_request_id', m.message_request_id),
    null, null);
  outcome := 'created';
  answer := jsonb_build_object('message', messaging.message_json(m),
    'message_request_id', m.message_request_id);
  if p_key is not null then
    perform platform.idempotency_finish(
      p_tenant, p_key, p_method, p_path, answer, 202, null, null);
  end if;
end
$$;

-- Puts what became of a message request onto its message. Older news (generation, then version)
-- change nothing. p_status is a state of dispatch-worker.
-- outcome: 'applied' | 'old' | 'not_found'
create function messaging.apply_delivery(
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
  update messaging.conversations set version = version + 1, updated_at = now()
   where tenant_id = p_tenant and id = m.conversation_id returning version into v;
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

-- A call that dispatch-worker keeps refusing has an end as well: its message was not delivered.
create function messaging.note_refused() returns trigger language plpgsql as $$
begin
  perform messaging.apply_delivery(new.tenant_id, new.tenant, new.event_id, 0, 1, 'failed', null,
    new.last_error);
  return null;
end
$$;
create trigger refused after update of laid_aside_at on platform.outbox
  for each row when (new.laid_aside_at is not null and old.laid_aside_at is null
    and new.source = 'messaging' and new.kind = 'call' and new.path = '/v1/message-requests')
  execute function messaging.note_refused();

-- Lets the owner of a conversation follow its session: assigned and offered ones belong to a human,
-- waiting ones to nobody, closed ones to the bot again, unless p_owner says who. The live AI job of a conversation that the
-- bot loses is cancelled; one that it gets back starts with an empty buffer. Sessions are ordered
-- by their ids (version 7), changes within one by p_version.
-- outcome: 'applied' (job = the cancelled AI job, if any) | 'old' | 'not_found'
create function messaging.apply_assignment(
  p_tenant uuid, p_code text, p_conversation uuid, p_session uuid, p_version bigint,
  p_state text, p_owner text, p_assignee uuid, p_actor text, p_reason text, p_request_id text,
  out outcome text, out job uuid
) language plpgsql as $$
declare
  c messaging.conversations;
  v_owner text := case when p_owner is not null then p_owner else case p_state when 'closed' then 'bot' when 'queued' then 'none'
    when 'parked' then 'none' else case when p_assignee is null then 'none' else 'human' end end end;
begin
  select * into c from messaging.conversations
   where tenant_id = p_tenant and id = p_conversation for update;
  if not found then outcome := 'not_found'; return; end if;
  if p_session < c.session_id or (p_session = c.session_id and p_version <= c.session_version) then
    outcome := 'old';
    return;
  end if;
  if c.state = 'closed' and p_state <> 'closed' then
    -- The session was opened, or changed hands, while the conversation was being closed.
    update messaging.conversations set session_id = p_session, session_version = p_version
     where tenant_id = p_tenant and id = p_conversation;
    perform messaging.close_session(c, p_session, p_code, 'the conversation is closed');
    outcome := 'applied';
    return;
  end if;
  -- The end of a session that closing the conversation has ended: what the bot has to say since the
  -- contact wrote again stays.
  if v_owner <> 'bot' or c.owner_kind <> 'bot' or p_session is distinct from c.session_id then
    job := messaging.silence_bot(p_tenant, p_conversation, 'the owner changed');
  end if;
  update messaging.conversations set session_id = p_session, session_version = p_version,
         owner_kind = v_owner, assignee_id = case v_owner when 'human' then p_assignee end,
         handoff_until = case when v_owner = 'bot' then null
           when session_id is distinct from p_session then now() + (select handoff_expires_after
             from messaging.tenant_settings where tenant_id = p_tenant)
           else handoff_until end,
         version = version + 1, updated_at = now(),
         next_seq = next_seq + case when v_owner = 'bot' and c.owner_kind <> 'bot' then 1 else 0 end
   where tenant_id = p_tenant and id = p_conversation;
  if v_owner = 'bot' and c.owner_kind <> 'bot' then
    -- The bot, and who reads along, must see that what was said before was said to people.
    insert into messaging.messages (tenant_id, conversation_id, seq, channel_code, direction,
      sender_kind, sender_id, text, thread_state)
    values (p_tenant, c.id, c.next_seq, c.channel_code, 'out', 'bot', 'returned-to-bot',
      'The bot answers again.', 'pending');
  end if;
  perform platform.emit('messaging', p_tenant, p_code, 'conversation.owner', c.id::text,
    c.version + 1, jsonb_build_object('conversation_id', c.id, 'owner_kind', v_owner,
      'assignee_id', p_assignee, 'session_id', p_session));
  perform platform.note_audit(p_tenant, p_actor, 'conversation.owner', c.id::text,
    jsonb_build_object('owner_kind', c.owner_kind, 'assignee_id', c.assignee_id),
    jsonb_build_object('owner_kind', v_owner, 'assignee_id', p_assignee), p_reason, p_request_id);
  outcome := 'applied';
end
$$;

-- ---------------------------------------------------------------- The bot's work

-- Everything a worker needs for a job: bot, AI with its sealed token, platform, the history that the
-- caller brought along, and the last p_history messages up to the job's upto_seq.
create function messaging.ai_job_work(j messaging.ai_jobs, p_history int) returns jsonb
language sql stable as $$
  select jsonb_build_object(
    'id', j.id, 'tenant_id', j.tenant_id, 'tenant', j.tenant, 'lock_id', j.lock_id,
    'conversation_id', j.conversation_id, 'fence', j.fence, 'upto_seq', j.upto_seq,
    'attempts', j.attempts, 'consolidated_messages', j.consolidated_messages,
    'input', j.input, 'channel_code', c.channel_code, 'supersedes', c.supersedes,
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
  from messaging.conversations c
  left join lateral messaging.bot_of(j.tenant_id, c.bot_id, c.channel_code) b on true
  left join messaging.core_ai a on a.tenant_id = j.tenant_id and a.id = b.core_ai_id
  where c.tenant_id = j.tenant_id and c.id = j.conversation_id
$$;

-- Takes jobs that are due: pending -> processing, with a lease. upto_seq is frozen here, on the
-- conversation's row: a message is either in this turn or in the next. Rows that somebody holds are
-- skipped, so a claim waits for nobody. Returns ai_job_work per job. It does not wait for the disk
-- either: one that a crash undoes leaves its job pending, and whoever had it finds it lost.
create function messaging.claim_ai_jobs(
  p_worker text, p_limit int, p_lease interval, p_history int
) returns setof jsonb language plpgsql as $$
declare
  d record;
  j messaging.ai_jobs;
begin
  perform set_config('synchronous_commit', 'off', true);
  for d in
    select x.tenant_id, x.id, x.conversation_id, c.last_user_seq, c.pending_count
      from messaging.ai_jobs x join messaging.conversations c
        on c.tenant_id = x.tenant_id and c.id = x.conversation_id
     where x.status = 'pending' and x.due_at <= now()
     order by x.due_at limit p_limit for update of x, c skip locked
  loop
    update messaging.ai_jobs set status = 'processing', worker = p_worker,
           attempts = attempts + 1, upto_seq = d.last_user_seq,
           started_at = coalesce(started_at, now()), heartbeat_at = now(),
           lease_until = now() + p_lease
     where tenant_id = d.tenant_id and id = d.id returning * into j;
    update messaging.conversations set pending_count = 0, first_pending_at = null,
           debounce_until = null
     where tenant_id = d.tenant_id and id = d.conversation_id;
    return next messaging.ai_job_work(j, p_history);
  end loop;
end
$$;

-- When the next pending job is due; null when none waits. What a worker sleeps until.
create function messaging.next_ai_job_due() returns timestamptz language sql stable as $$
  select due_at from messaging.ai_jobs where status = 'pending' order by due_at limit 1
$$;

-- Extends the lease of a running job. 'ours' | 'outdated' (a newer message is there) | 'lost': it is
-- not the worker's any more; abort the call.
create function messaging.heartbeat_ai_job(
  p_tenant uuid, p_job uuid, p_worker text, p_fence bigint, p_lease interval
) returns text language sql as $$
  with beat as (
    update messaging.ai_jobs set heartbeat_at = now(), lease_until = now() + p_lease
     where tenant_id = p_tenant and id = p_job and status = 'processing' and worker = p_worker
       and fence = p_fence
    returning conversation_id, upto_seq)
  select coalesce((select case when c.last_user_seq > b.upto_seq then 'outdated' else 'ours' end
    from beat b join messaging.conversations c
      on c.tenant_id = p_tenant and c.id = b.conversation_id), 'lost')
$$;

-- Makes the next job at once when the conversation has news after `p_upto`; to be called by who
-- ended a job, with the row held. Returns its id, or null.
create function messaging.next_turn(
  p_tenant uuid, p_code text, p_conversation uuid, p_upto bigint, p_due timestamptz
) returns uuid language plpgsql as $$
declare
  c messaging.conversations;
  j messaging.ai_jobs;
begin
  select * into c from messaging.conversations
   where tenant_id = p_tenant and id = p_conversation and owner_kind = 'bot' and state = 'open'
     and (last_user_seq > p_upto or pending_input is not null) for update;
  if not found then return null; end if;
  update messaging.conversations set fence = c.fence + 1, pending_input = null
   where tenant_id = p_tenant and id = p_conversation;
  select * into j from messaging.make_ai_job(p_tenant, p_code, p_conversation, c.fence + 1,
    c.last_user_seq, c.pending_count, c.pending_input, p_due, c.version);
  return j.id;
end
$$;

-- Ends a job without its answer: newer messages superseded it. The next job, due at p_due, answers
-- what this one was for as well, and counts it. The caller holds the row. Returns the next job's id.
create function messaging.supersede(
  c messaging.conversations, j messaging.ai_jobs, p_result jsonb, p_due timestamptz
) returns uuid language plpgsql as $$
begin
  perform messaging.end_ai_job(j, 'superseded', null, p_result, c.version + 1);
  update messaging.conversations set supersedes = supersedes + 1, version = version + 1,
         pending_count = pending_count + j.consolidated_messages, updated_at = now()
   where tenant_id = c.tenant_id and id = c.id;
  return messaging.next_turn(c.tenant_id, j.tenant, c.id, c.answered_seq, p_due);
end
$$;

-- Ends a job with the bot's answer, by one conditional write: the fence must still be the job's, the
-- bot must own the conversation, and nothing newer may have come in, unless p_post_anyway, or the
-- answers of p_max_supersedes jobs in a row were dropped already; then it is marked stale. What is
-- posted is sent on by dispatch-worker, as an agent's reply is; nothing else is.
-- A null p_text ends the job without a message. With p_handover, the bot's reason, the conversation
-- then goes to a person of p_team (may be null). Makes the next job itself when there is news.
-- outcome: 'posted' (answer = message_json) | 'done' (no text) | 'superseded' | 'lost'
create function messaging.finish_ai_job(
  p_tenant uuid, p_job uuid, p_worker text, p_fence bigint, p_text text, p_result jsonb,
  p_sender text, p_post_anyway bool, p_max_supersedes int, p_terms bytea, p_mentions text[],
  p_handover text, p_team text, out outcome text, out answer jsonb, out next_job uuid
) language plpgsql as $$
declare
  c messaging.conversations;
  j messaging.ai_jobs;
  m messaging.messages;
  q record;
begin
  select x.* into c from messaging.conversations x
   where x.tenant_id = p_tenant and x.id = (select conversation_id from messaging.ai_jobs
     where tenant_id = p_tenant and id = p_job) for update;
  select * into j from messaging.ai_jobs where tenant_id = p_tenant and id = p_job for update;
  if j.id is null or j.status <> 'processing' or j.worker is distinct from p_worker
    or j.fence <> p_fence or c.fence <> p_fence
  then
    outcome := 'lost';
    return;
  end if;
  if c.owner_kind <> 'bot' or (p_text is not null and c.last_user_seq > j.upto_seq
    and not p_post_anyway and c.supersedes < p_max_supersedes)
  then
    next_job := messaging.supersede(c, j, p_result, now());
    outcome := 'superseded';
    return;
  end if;
  outcome := 'done';
  if p_text is not null then
    -- The answer belongs to the thread of what it answers.
    select x.id, x.thread_id, x.provider_thread into q from messaging.messages x
     where x.tenant_id = p_tenant and x.conversation_id = c.id and x.seq <= j.upto_seq
       and x.sender_kind = 'contact' order by x.seq desc limit 1;
    insert into messaging.messages
      (tenant_id, conversation_id, seq, channel_code, direction, sender_kind, sender_id, text,
       reply_to, provider_thread, thread_id, thread_state, method, score, stale, ai_job_id,
       message_request_id, delivery_state)
    values (p_tenant, c.id, c.next_seq, c.channel_code, 'out', 'bot', p_sender, p_text, q.id,
      q.provider_thread, q.thread_id, case when q.thread_id is null then 'pending' else 'assigned' end,
      case when q.thread_id is null then null else 'reply' end, 0,
      c.last_user_seq > j.upto_seq, j.id, gen_random_uuid(), 'pending')
    returning * into m;
    if m.thread_id is not null then
      perform messaging.touch_thread(p_tenant, m.thread_id, p_terms, p_sender, p_mentions);
    end if;
    perform messaging.emit(p_tenant, j.tenant, c.id, c.version + 1, jsonb_build_array(
      jsonb_build_array('message.created', jsonb_build_object('message_id', m.id, 'seq', m.seq,
        'conversation_id', c.id, 'sender_kind', 'bot', 'direction', 'out'))));
    perform messaging.send_out(m, j.tenant, c.version + 1);
    outcome := 'posted';
    answer := messaging.message_json(m);
  end if;
  perform messaging.end_ai_job(j, 'completed', null,
    coalesce(p_result, '{}') || jsonb_build_object('message_id', m.id, 'stale',
      coalesce(m.stale, false)), c.version + 1);
  update messaging.conversations set supersedes = 0, version = version + 1, updated_at = now(),
         next_seq = next_seq + case when m.id is null then 0 else 1 end,
         bot_seq = greatest(bot_seq, j.upto_seq),
         answered_seq = greatest(answered_seq, j.upto_seq),
         thread_version = thread_version + case when m.thread_id is null then 0 else 1 end
   where tenant_id = p_tenant and id = c.id;
  if p_handover is not null then
    perform messaging.ask_for_person(c, j.tenant, p_handover, p_team, c.version + 1);
  end if;
  next_job := messaging.next_turn(p_tenant, j.tenant, c.id, j.upto_seq, now());
end
$$;

-- Ends one try of a job that failed: it waits p_backoff and is tried again, or it is given up (after
-- p_attempts_max tries, or when p_final). Then a person is asked for, if messages of the conversation
-- waited for the answer and the bot's meta_data.on_failure is not 'keep'; else they count as dealt
-- with, and news since make the next job. `p_status` of a job that is given up: 'failed', or 'expired' when its lease ran out.
-- outcome: 'retry' | 'failed' | 'lost'
create function messaging.fail_ai_job(
  p_tenant uuid, p_job uuid, p_worker text, p_fence bigint, p_error text, p_final bool,
  p_attempts_max int, p_backoff interval, p_status text,
  out outcome text, out next_job uuid
) language plpgsql as $$
declare
  c messaging.conversations;
  j messaging.ai_jobs;
  bot record;
begin
  select x.* into c from messaging.conversations x
   where x.tenant_id = p_tenant and x.id = (select conversation_id from messaging.ai_jobs
     where tenant_id = p_tenant and id = p_job) for update;
  select * into j from messaging.ai_jobs where tenant_id = p_tenant and id = p_job for update;
  if j.id is null or j.status <> 'processing' or j.worker is distinct from p_worker
    or j.fence <> p_fence
  then
    outcome := 'lost';
    return;
  end if;
  if not p_final and j.attempts < p_attempts_max then
    -- A new fence: an answer of the try that failed must not pass if it comes after all.
    update messaging.conversations set fence = fence + 1, pending_count = 0, pending_input = null
     where tenant_id = p_tenant and id = c.id;
    -- What came in meanwhile is answered by the next try.
    update messaging.ai_jobs set status = 'pending', fence = c.fence + 1, worker = null,
           consolidated_messages = consolidated_messages + c.pending_count,
           input = coalesce(c.pending_input, input),
           error = left(p_error, 500), lease_until = null, due_at = now() + p_backoff
     where tenant_id = p_tenant and id = p_job;
    outcome := 'retry';
    return;
  end if;
  perform messaging.end_ai_job(j, p_status, left(p_error, 500), null, c.version + 1);
  update messaging.conversations set answered_seq = greatest(answered_seq, j.upto_seq),
         supersedes = 0, version = version + 1, updated_at = now()
   where tenant_id = p_tenant and id = c.id;
  if j.upto_seq > c.answered_seq and c.owner_kind = 'bot' then
    select coalesce(b.meta_data ->> 'on_failure', 'handover') as wish,
           b.meta_data ->> 'handover_team_id' as team
      into bot from messaging.bot_of(p_tenant, c.bot_id, c.channel_code) b;
    if bot.wish <> 'keep' then
      perform messaging.ask_for_person(c, j.tenant, 'the bot gave no answer', bot.team,
        c.version + 1);
    end if;
  end if;
  next_job := messaging.next_turn(p_tenant, j.tenant, c.id, j.upto_seq, now());
  outcome := 'failed';
end
$$;

-- Hands a running job back because its worker stops; others may claim it at once, and the attempt
-- does not count. 'retry' | 'lost'
create function messaging.give_back_ai_job(
  p_tenant uuid, p_job uuid, p_worker text, p_fence bigint
) returns text language plpgsql as $$
declare
  r record;
begin
  select * into r from messaging.fail_ai_job(p_tenant, p_job, p_worker, p_fence,
    'the worker was stopped', false, 2147483647, interval '0', 'failed');
  if r.outcome = 'retry' then
    update messaging.ai_jobs set attempts = attempts - 1
     where tenant_id = p_tenant and id = p_job;
  end if;
  return r.outcome;
end
$$;

-- Ends a running job whose provider's call was aborted because of a newer message. As it ends before
-- its time, the next job waits for the rest of the burst. outcome: 'superseded' | 'lost' | 'retry' (its
-- answer would be shown after all: it is worked on again, and the attempt does not count)
create function messaging.supersede_ai_job(
  p_tenant uuid, p_job uuid, p_worker text, p_fence bigint, p_max_supersedes int, out outcome text
) language plpgsql as $$
declare
  c messaging.conversations;
  j messaging.ai_jobs;
begin
  select x.* into c from messaging.conversations x
   where x.tenant_id = p_tenant and x.id = (select conversation_id from messaging.ai_jobs
     where tenant_id = p_tenant and id = p_job) for update;
  select * into j from messaging.ai_jobs where tenant_id = p_tenant and id = p_job for update;
  if j.status = 'processing' and j.worker = p_worker and j.fence = p_fence and c.fence = p_fence
    and c.last_user_seq > j.upto_seq and c.supersedes < p_max_supersedes
  then
    perform messaging.supersede(c, j, null, greatest(now(), c.debounce_until));
    outcome := 'superseded';
  else
    outcome := messaging.give_back_ai_job(p_tenant, p_job, p_worker, p_fence);
  end if;
end
$$;

-- Ends a live job by somebody's will. 'cancelled', by its id: what it was to answer counts as dealt
-- with. 'superseded', when an administrator releases the lock of p_conversation: nothing is lost, the
-- next message's job answers it too, or the one that the sweep makes after a while. outcome: 'ended' | 'over' (it was already) | 'not_found'; answer = ai_job_json
create function messaging.stop_ai_job(
  p_tenant uuid, p_job uuid, p_conversation uuid, p_status text, p_actor text, p_reason text,
  p_request_id text, out outcome text, out answer jsonb
) language plpgsql as $$
declare
  c messaging.conversations;
  j messaging.ai_jobs;
begin
  select x.* into c from messaging.conversations x
   where x.tenant_id = p_tenant and x.id = coalesce(p_conversation,
     (select conversation_id from messaging.ai_jobs where tenant_id = p_tenant and id = p_job))
   for update;
  if not found then outcome := 'not_found'; return; end if;
  select * into j from messaging.ai_jobs
   where tenant_id = p_tenant and conversation_id = c.id
     and case when p_job is null then status in ('pending', 'processing') else id = p_job end
   for update;
  if not found then outcome := 'not_found'; return; end if;
  if j.status not in ('pending', 'processing') then
    outcome := 'over';
    answer := messaging.ai_job_json(j);
    return;
  end if;
  perform messaging.end_ai_job(j, p_status, p_reason, null, c.version + 1);
  update messaging.conversations set fence = fence + 1, supersedes = 0, version = version + 1,
         answered_seq = case p_status when 'superseded' then answered_seq
           else greatest(answered_seq, j.upto_seq) end,
         -- A job that waits for another try has counted more than came in since.
         pending_count = case p_status when 'superseded'
           then case j.status when 'pending' then j.consolidated_messages
             else pending_count + j.consolidated_messages end
           else case j.status when 'pending' then 0 else pending_count end end,
         first_pending_at = null, debounce_until = null, updated_at = now()
   where tenant_id = p_tenant and id = c.id;
  perform platform.note_audit(p_tenant, p_actor, 'ai_job.' || p_status, j.id::text,
    jsonb_build_object('status', j.status), jsonb_build_object('status', p_status), p_reason,
    p_request_id);
  if p_status <> 'superseded' then
    perform messaging.next_turn(p_tenant, j.tenant, c.id, j.upto_seq, now());
  end if;
  select * into j from messaging.ai_jobs where tenant_id = p_tenant and id = j.id;
  outcome := 'ended';
  answer := messaging.ai_job_json(j);
end
$$;

-- The MessageHandler's call: a history that the caller brought along takes the conversation's lock
-- and starts a job, or joins the job that waits (the newer history replaces the older), or waits
-- behind the one that runs.
-- outcome: 'started' | 'locked' | 'bot_inactive' | 'human' | 'closed' | 'not_found';
-- answer = {ai_job_id, lock_id, consolidated_messages, pending_count, bot_name}
create function messaging.start_handle(
  p_tenant uuid, p_code text, p_conversation uuid, p_input jsonb, p_debounce interval,
  p_actor text, out outcome text, out answer jsonb
) language plpgsql as $$
declare
  c messaging.conversations;
  j messaging.ai_jobs;
  waiting int;
begin
  select * into c from messaging.conversations
   where tenant_id = p_tenant and id = p_conversation for update;
  if not found then outcome := 'not_found'; return; end if;
  if c.state = 'closed' then outcome := 'closed'; return; end if;
  if c.owner_kind <> 'bot' then outcome := 'human'; return; end if;
  if not messaging.bot_is_on(p_tenant, c.bot_id, c.channel_code) then
    outcome := 'bot_inactive';
    return;
  end if;
  waiting := c.pending_count + 1;
  select * into j from messaging.ai_jobs
   where tenant_id = p_tenant and conversation_id = c.id
     and status in ('pending', 'processing') for update;
  if not found then
    outcome := 'started';
    j := messaging.make_ai_job(p_tenant, p_code, c.id, c.fence + 1, c.last_user_seq, waiting,
      p_input, now() + p_debounce, c.version + 1);
  else
    outcome := 'locked';
    if j.status = 'pending' then
      update messaging.ai_jobs set input = p_input,
             consolidated_messages = consolidated_messages + 1
       where tenant_id = p_tenant and id = j.id returning * into j;
    end if;
  end if;
  update messaging.conversations set pending_count = waiting, version = version + 1,
         fence = greatest(fence, j.fence), updated_at = now(),
         pending_input = case j.status when 'processing' then p_input else pending_input end
   where tenant_id = p_tenant and id = c.id;
  perform platform.note_audit(p_tenant, p_actor, 'conversation.handle', c.id::text, null,
    jsonb_build_object('ai_job_id', j.id, 'outcome', outcome), null, null);
  answer := jsonb_build_object('ai_job_id', j.id, 'lock_id', j.lock_id, 'pending_count', waiting,
    'consolidated_messages', j.consolidated_messages, 'bot_name',
    (select name from messaging.bot_of(p_tenant, c.bot_id, c.channel_code)));
end
$$;

-- Finds what fell between two chairs: jobs whose worker gave no sign until its lease ran out, and
-- conversations whose contact waits for the bot without a live job for p_idle. Drops jobs that ended
-- 30 days ago and workers that were last seen a day ago. To be run every few seconds.
create function messaging.sweep_ai(
  p_limit int, p_attempts_max int, p_backoff interval, p_idle interval,
  out expired int, out made int
) language plpgsql as $$
declare
  d record;
begin
  expired := 0;
  made := 0;
  for d in
    select x.tenant_id, x.id, x.worker, x.fence
      from messaging.ai_jobs x join messaging.conversations c
        on c.tenant_id = x.tenant_id and c.id = x.conversation_id
     where x.status = 'processing' and x.lease_until < now()
     order by x.lease_until limit p_limit for update of x, c skip locked
  loop
    perform messaging.fail_ai_job(d.tenant_id, d.id, d.worker, d.fence,
      'the worker gave no sign of life', false, p_attempts_max, p_backoff, 'expired');
    expired := expired + 1;
  end loop;
  for d in
    select c.tenant_id, c.id, c.answered_seq, t.code
      from messaging.conversations c join platform.tenants t on t.id = c.tenant_id
     where c.awaits_bot and c.state = 'open' and c.updated_at <= now() - p_idle
        and not exists (select 1 from messaging.ai_jobs x
         where x.tenant_id = c.tenant_id and x.conversation_id = c.id
           and x.status in ('pending', 'processing'))
     limit p_limit for update of c skip locked
  loop
    -- Asked again with the row held: a job may have been made since the statement began.
    if not exists (select 1 from messaging.ai_jobs x where x.tenant_id = d.tenant_id
        and x.conversation_id = d.id and x.status in ('pending', 'processing'))
      and messaging.next_turn(d.tenant_id, d.code, d.id, d.answered_seq, now()) is not null
    then
      made := made + 1;
    end if;
  end loop;
  delete from messaging.ai_jobs a using (select tenant_id, id from messaging.ai_jobs
    where finished_at < now() - interval '30 days' order by finished_at limit p_limit
    for update skip locked) old
   where a.tenant_id = old.tenant_id and a.id = old.id;
  delete from messaging.ai_workers where heartbeat_at < now() - interval '1 day';
end
$$;

-- Takes conversations that nobody wrote in since people got them, for p_lease: their sessions are to
-- go back to the bot. Whoever writes meanwhile keeps the conversation.
create function messaging.claim_handoffs(p_limit int, p_lease interval)
returns table (tenant_id uuid, tenant text, conversation_id uuid, session_id uuid)
language sql as $$
  update messaging.conversations c set handoff_until = now() + p_lease
    from (select x.tenant_id, x.id from messaging.conversations x
           where x.handoff_until <= now() order by x.handoff_until limit p_limit
           for update skip locked) d, platform.tenants t
   where c.tenant_id = d.tenant_id and c.id = d.id and t.id = d.tenant_id
  returning c.tenant_id, t.code, c.id, c.session_id
$$;

-- The session of an expired handoff is over: nothing is to be done any more.
create function messaging.settle_handoff(p_tenant uuid, p_conversation uuid, p_session uuid)
returns void language sql as $$
  update messaging.conversations set handoff_until = null
   where tenant_id = p_tenant and id = p_conversation and session_id = p_session
$$;

-- A worker's sign of life, with what it has done since its start.
create function messaging.beat_ai_worker(
  p_worker text, p_in_flight int, p_processed bigint, p_failed bigint
) returns void language sql as $$
  insert into messaging.ai_workers (worker, in_flight, processed, failed)
  values (p_worker, p_in_flight, p_processed, p_failed)
  on conflict (worker) do update set heartbeat_at = now(), in_flight = excluded.in_flight,
    processed = excluded.processed, failed = excluded.failed
$$;

-- A live lock as administrators see it. It is orphaned when its job runs and nobody says so any more.
create function messaging.ai_lock_json(
  j messaging.ai_jobs, p_pending int
) returns jsonb language sql stable as $$
  select jsonb_build_object('conversation_id', j.conversation_id, 'lock_id', j.lock_id,
    'holder', j.worker, 'ai_job_id', j.id, 'job_status', j.status, 'pending_count', p_pending,
    'age_ms', (extract(epoch from now() - j.created_at) * 1000)::bigint,
    'heartbeat_age_ms', (extract(epoch from now() - j.heartbeat_at) * 1000)::bigint,
    'orphaned', j.status = 'processing' and j.lease_until < now())
$$;

-- Releases the locks of a tenant that are older than p_age, as an administrator would one by one.
create function messaging.cleanup_ai_locks(
  p_tenant uuid, p_age interval, p_limit int, p_actor text, p_request_id text
) returns setof uuid language plpgsql as $$
declare
  d record;
  r record;
begin
  for d in
    select conversation_id from messaging.ai_jobs
     where tenant_id = p_tenant and status in ('pending', 'processing')
       and created_at <= now() - p_age
     order by created_at limit p_limit
  loop
    select * into r from messaging.stop_ai_job(p_tenant, null, d.conversation_id, 'superseded',
      p_actor, 'the lock was older than allowed', p_request_id);
    if r.outcome = 'ended' then return next d.conversation_id; end if;
  end loop;
end
$$;

-- ---------------------------------------------------------------- Configuration

create function messaging.bot_json(b messaging.bots) returns jsonb language sql stable as $$
  select jsonb_build_object('id', b.id, 'bot_id', b.id, 'name', b.name,
    'description', b.description, 'language', b.language, 'is_active', b.is_active,
    'core_ai_id', b.core_ai_id, 'platform_id', b.platform_id, 'meta_data', b.meta_data,
    'updated_at', messaging.instant(b.updated_at))
$$;

create function messaging.core_ai_json(a messaging.core_ai) returns jsonb
language sql stable as $$
  select jsonb_build_object('id', a.id, 'core_ai_id', a.id, 'name', a.name,
    'api_endpoint', a.api_endpoint, 'auth_required', a.auth_required,
    'auth_token', case when exists (select 1 from platform.secrets s
      where s.tenant_id = a.tenant_id and s.kind = 'core_ai' and s.ref = a.id::text)
      then '***' end,
    'timeout_seconds', a.timeout_seconds, 'meta_data', a.meta_data,
    'updated_at', messaging.instant(a.updated_at))
$$;

create function messaging.platform_json(p messaging.platforms) returns jsonb
language sql stable as $$
  select jsonb_build_object('id', p.id, 'platform_id', p.id, 'name', p.name,
    'description', p.description, 'base_url', p.base_url, 'auth_required', p.auth_required,
    'meta_data', p.meta_data, 'updated_at', messaging.instant(p.updated_at))
$$;

create function messaging.channel_json(c messaging.channels) returns jsonb
language sql stable as $$
  select jsonb_build_object('code', c.code, 'kind', c.kind, 'workspace_code', c.workspace_code,
    'team_id', c.team_id, 'provider_channel_id', c.provider_channel_id, 'bot_id', c.bot_id,
    'reopen_window_s', extract(epoch from c.reopen_window)::bigint,
    'updated_at', messaging.instant(c.updated_at))
$$;

-- What is configured for a conversation in one read: bot, AI, platform, and what stands in for them.
-- Null when there is no such conversation.
create function messaging.bot_configuration(p_tenant uuid, p_conversation uuid) returns jsonb
language sql stable as $$
  select jsonb_build_object(
    'bot', case when b.id is not null then messaging.bot_json(b) end,
    'core_ai', (select messaging.core_ai_json(a) from messaging.core_ai a
      where a.tenant_id = p_tenant and a.id = b.core_ai_id),
    'platform', (select messaging.platform_json(p) from messaging.platforms p
      where p.tenant_id = p_tenant and p.id = b.platform_id),
    'token', (select jsonb_build_object('key_id', s.key_id, 'sealed', encode(s.sealed, 'hex'))
      from platform.secrets s where s.tenant_id = p_tenant and s.kind = 'core_ai'
        and s.ref = b.core_ai_id::text),
    'allow_default_bot', coalesce((select t.allow_default_bot from messaging.tenant_settings t
      where t.tenant_id = p_tenant), true))
  from messaging.conversations c
  left join lateral messaging.bot_of(p_tenant, c.bot_id, c.channel_code) b on true
  where c.tenant_id = p_tenant and c.id = p_conversation
$$;

-- Makes or replaces a bot. outcome: 'created' | 'updated' | 'invalid' (answer = {pointer, detail})
create function messaging.put_bot(
  p_tenant uuid, p_id uuid, p_body jsonb, p_actor text, p_request_id text,
  out outcome text, out answer jsonb
) language plpgsql as $$
declare
  b messaging.bots;
  was jsonb;
begin
  if p_body ->> 'core_ai_id' is not null and not exists (select 1 from messaging.core_ai
    where tenant_id = p_tenant and id = (p_body ->> 'core_ai_id')::uuid)
  then
    outcome := 'invalid';
    answer := '{"pointer": "/core_ai_id", "detail": "names no core AI of this tenant"}';
    return;
  end if;
  if p_body ->> 'platform_id' is not null and not exists (select 1 from messaging.platforms
    where tenant_id = p_tenant and id = (p_body ->> 'platform_id')::uuid)
  then
    outcome := 'invalid';
    answer := '{"pointer": "/platform_id", "detail": "names no platform of this tenant"}';
    return;
  end if;
  select messaging.bot_json(x) into was from messaging.bots x
   where tenant_id = p_tenant and id = p_id for update;
  insert into messaging.bots (tenant_id, id, name, description, language, is_active, core_ai_id,
    platform_id, meta_data)
  values (p_tenant, p_id, p_body ->> 'name', coalesce(p_body ->> 'description', ''),
    coalesce(p_body ->> 'language', 'en'), coalesce((p_body ->> 'is_active')::bool, true),
    (p_body ->> 'core_ai_id')::uuid, (p_body ->> 'platform_id')::uuid,
    coalesce(p_body -> 'meta_data', '{}'))
  on conflict (tenant_id, id) do update set name = excluded.name,
    description = excluded.description, language = excluded.language,
    is_active = excluded.is_active, core_ai_id = excluded.core_ai_id,
    platform_id = excluded.platform_id, meta_data = excluded.meta_data, updated_at = now()
  returning * into b;
  outcome := case when was is null then 'created' else 'updated' end;
  answer := messaging.bot_json(b);
  perform platform.note_audit(
    p_tenant, p_actor, 'bot.put', p_id::text, was, answer, null, p_request_id);
end
$$;

-- Makes or replaces a core AI. p_sealed: the sealed token, or null to keep the one that is there;
-- p_forget drops it. outcome: 'created' | 'updated'
create function messaging.put_core_ai(
  p_tenant uuid, p_id uuid, p_body jsonb, p_key_id text, p_sealed bytea, p_forget bool,
  p_actor text, p_request_id text, out outcome text, out answer jsonb
) language plpgsql as $$
declare
  a messaging.core_ai;
  was jsonb;
begin
  select messaging.core_ai_json(x) into was from messaging.core_ai x
   where tenant_id = p_tenant and id = p_id for update;
  insert into messaging.core_ai
    (tenant_id, id, name, api_endpoint, auth_required, timeout_seconds, meta_data)
  values (p_tenant, p_id, p_body ->> 'name', p_body ->> 'api_endpoint',
    coalesce((p_body ->> 'auth_required')::bool, false),
    coalesce((p_body ->> 'timeout_seconds')::int, 30), coalesce(p_body -> 'meta_data', '{}'))
  on conflict (tenant_id, id) do update set name = excluded.name,
    api_endpoint = excluded.api_endpoint, auth_required = excluded.auth_required,
    timeout_seconds = excluded.timeout_seconds, meta_data = excluded.meta_data, updated_at = now()
  returning * into a;
  if p_sealed is not null then
    insert into platform.secrets (tenant_id, kind, ref, key_id, sealed)
    values (p_tenant, 'core_ai', p_id::text, p_key_id, p_sealed)
    on conflict (tenant_id, kind, ref) do update
      set key_id = excluded.key_id, sealed = excluded.sealed, updated_at = now();
  elsif p_forget then
    delete from platform.secrets
     where tenant_id = p_tenant and kind = 'core_ai' and ref = p_id::text;
  end if;
  outcome := case when was is null then 'created' else 'updated' end;
  answer := messaging.core_ai_json(a);
  perform platform.note_audit(
    p_tenant, p_actor, 'core_ai.put', p_id::text, was, answer, null, p_request_id);
end
$$;

-- Makes or replaces a platform. outcome: 'created' | 'updated'
create function messaging.put_platform(
  p_tenant uuid, p_id uuid, p_body jsonb, p_actor text, p_request_id text,
  out outcome text, out answer jsonb
) language plpgsql as $$
declare
  p messaging.platforms;
  was jsonb;
begin
  select messaging.platform_json(x) into was from messaging.platforms x
   where tenant_id = p_tenant and id = p_id for update;
  insert into messaging.platforms
    (tenant_id, id, name, description, base_url, auth_required, meta_data)
  values (p_tenant, p_id, p_body ->> 'name', coalesce(p_body ->> 'description', ''),
    p_body ->> 'base_url', coalesce((p_body ->> 'auth_required')::bool, false),
    coalesce(p_body -> 'meta_data', '{}'))
  on conflict (tenant_id, id) do update set name = excluded.name,
    description = excluded.description, base_url = excluded.base_url,
    auth_required = excluded.auth_required, meta_data = excluded.meta_data, updated_at = now()
  returning * into p;
  outcome := case when was is null then 'created' else 'updated' end;
  answer := messaging.platform_json(p);
  perform platform.note_audit(
    p_tenant, p_actor, 'platform.put', p_id::text, was, answer, null, p_request_id);
end
$$;

-- Learns a channel from dispatch-worker; an older version changes nothing.
-- outcome: 'applied' | 'old'; answer = channel_json
create function messaging.put_channel(
  p_tenant uuid, p_code text, p_version bigint, p_body jsonb, out outcome text, out answer jsonb
) language plpgsql as $$
declare
  c messaging.channels;
begin
  insert into messaging.channels as x
    (tenant_id, code, kind, workspace_code, team_id, provider_channel_id, version)
  values (p_tenant, p_code, p_body ->> 'kind', p_body ->> 'workspace_code', p_body ->> 'team_id',
    p_body ->> 'provider_channel_id', p_version)
  on conflict (tenant_id, code) do update set kind = excluded.kind,
    workspace_code = excluded.workspace_code, team_id = excluded.team_id,
    provider_channel_id = excluded.provider_channel_id, version = excluded.version,
    updated_at = now()
    where x.version <= excluded.version
  returning * into c;
  outcome := case when found then 'applied' else 'old' end;
  if not found then
    select * into c from messaging.channels where tenant_id = p_tenant and code = p_code;
  end if;
  answer := messaging.channel_json(c);
end
$$;

-- The fallbacks of a conversation without a bot of its own: p_channel's, or the tenant's when it is
-- null. outcome: 'updated' | 'unknown_channel' | 'unknown_bot'
create function messaging.set_fallback_bot(
  p_tenant uuid, p_channel text, p_bot uuid, p_actor text, p_request_id text, out outcome text
) language plpgsql as $$
declare
  was uuid;
begin
  if p_bot is not null and not exists (
    select 1 from messaging.bots where tenant_id = p_tenant and id = p_bot)
  then
    outcome := 'unknown_bot';
    return;
  end if;
  if p_channel is not null then
    select bot_id into was from messaging.channels
     where tenant_id = p_tenant and code = p_channel for update;
    if not found then outcome := 'unknown_channel'; return; end if;
    update messaging.channels set bot_id = p_bot, updated_at = now()
     where tenant_id = p_tenant and code = p_channel;
  else
    select default_bot_id into was from messaging.tenant_settings where tenant_id = p_tenant;
    insert into messaging.tenant_settings (tenant_id, default_bot_id) values (p_tenant, p_bot)
    on conflict (tenant_id) do update set default_bot_id = p_bot, updated_at = now();
  end if;
  outcome := 'updated';
  perform platform.note_audit(p_tenant, p_actor, 'fallback_bot.put',
    coalesce(p_channel, 'tenant'), jsonb_build_object('bot_id', was),
    jsonb_build_object('bot_id', p_bot), null, p_request_id);
end
$$;

-- What a tenant decides for all its bots; null keeps what is there. p_handoff: seconds, 0 for never.
create function messaging.put_bot_policy(
  p_tenant uuid, p_allow_default bool, p_control_words jsonb, p_handoff int, p_actor text,
  p_request_id text
) returns jsonb language plpgsql as $$
declare
  was jsonb := messaging.bot_policy_json(p_tenant);
  v_is jsonb;
begin
  insert into messaging.tenant_settings
    (tenant_id, allow_default_bot, control_words, handoff_expires_after)
  values (p_tenant, coalesce(p_allow_default, true), coalesce(p_control_words, '{}'),
    nullif(p_handoff, 0) * interval '1 s')
  on conflict (tenant_id) do update set updated_at = now(),
    handoff_expires_after = case when p_handoff is null
      then tenant_settings.handoff_expires_after else excluded.handoff_expires_after end,
    allow_default_bot = coalesce(p_allow_default, tenant_settings.allow_default_bot),
    control_words = coalesce(p_control_words, tenant_settings.control_words);
  v_is := messaging.bot_policy_json(p_tenant);
  perform platform.note_audit(
    p_tenant, p_actor, 'bot_policy.put', 'tenant', was, v_is, null, p_request_id);
  return v_is;
end
$$;

create function messaging.bot_policy_json(p_tenant uuid) returns jsonb language sql stable as $$
  select jsonb_build_object('default_bot_id', t.default_bot_id,
    'allow_default_bot', coalesce(t.allow_default_bot, true),
    'handoff_expires_after_s', extract(epoch from t.handoff_expires_after)::int,
    'control_words', coalesce(t.control_words, '{}'))
  from (select) as one left join messaging.tenant_settings t on t.tenant_id = p_tenant
$$;

-- How bursts are answered on a channel; an empty object is as everywhere.
-- outcome: 'updated' (answer) | 'unknown_channel'
create function messaging.put_channel_mailbox(
  p_tenant uuid, p_channel text, p_mailbox jsonb, p_actor text, p_request_id text,
  out outcome text, out answer jsonb
) language plpgsql as $$
declare
  was jsonb;
begin
  select mailbox into was from messaging.channels
   where tenant_id = p_tenant and code = p_channel for update;
  if not found then outcome := 'unknown_channel'; return; end if;
  update messaging.channels set mailbox = jsonb_strip_nulls(p_mailbox), updated_at = now()
   where tenant_id = p_tenant and code = p_channel returning mailbox into answer;
  answer := jsonb_build_object('channel_code', p_channel) || answer;
  perform platform.note_audit(
    p_tenant, p_actor, 'channel_mailbox.put', p_channel, was, answer, null, p_request_id);
  outcome := 'updated';
end
$$;
