-- A bot can be paused for a while, and have hours in which it answers.

alter table messaging.bots
  -- Nothing is answered before.
  add column paused_until timestamptz,
  -- {tz, windows: [{day: mon…sun, from, to}, …]}; null: always.
  add column hours jsonb;

-- Whether a bot answers what comes at `p_at`. A window whose end is not after its beginning goes on
-- into the next day.
create function messaging.answers_at(b messaging.bots, p_at timestamptz) returns bool
language plpgsql stable as $$
declare
  there timestamp;
begin
  if not b.is_active or b.paused_until > p_at then return false; end if;
  if b.hours is null then return true; end if;
  there := p_at at time zone (b.hours ->> 'tz');
  return exists (
    select from jsonb_to_recordset(b.hours -> 'windows') as w (day text, "from" time, "to" time)
     where (w.day = to_char(there, 'dy') and there::time >= w."from"
            and (there::time < w."to" or w."to" <= w."from"))
        or (w.day = to_char(there - interval '1 day', 'dy') and w."to" <= w."from"
            and there::time < w."to"));
end
$$;

-- As in 0016, with its pause and its hours.
create or replace function messaging.bot_is_on(p_tenant uuid, p_bot uuid, p_channel text) returns bool
language plpgsql stable as $$
declare
  bot messaging.bots := messaging.bot_of(p_tenant, p_bot, p_channel);
begin
  if bot.id is not null and bot.is_active is not null then
    return messaging.answers_at(bot, now());
  end if;
  return coalesce(
    (select allow_default_bot from messaging.tenant_settings where tenant_id = p_tenant), true);
end
$$;

create or replace function messaging.bot_json(b messaging.bots) returns jsonb
language sql stable as $$
  select jsonb_build_object('id', b.id, 'bot_id', b.id, 'name', b.name,
    'description', b.description, 'language', b.language, 'is_active', b.is_active,
    'paused_until', messaging.instant(b.paused_until), 'hours', b.hours,
    'answers_now', messaging.answers_at(b, now()),
    'core_ai_id', b.core_ai_id, 'platform_id', b.platform_id, 'meta_data', b.meta_data,
    'updated_at', messaging.instant(b.updated_at))
$$;

-- Makes or replaces a bot. outcome: 'created' | 'updated' | 'invalid' (answer = {pointer, detail})
create or replace function messaging.put_bot(
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
  begin
    perform now() at time zone (p_body -> 'hours' ->> 'tz');
  exception when invalid_parameter_value then
    outcome := 'invalid';
    answer := '{"pointer": "/hours/tz", "detail": "is no time zone like Europe/Berlin"}';
    return;
  end;
  select messaging.bot_json(x) into was from messaging.bots x
   where tenant_id = p_tenant and id = p_id for update;
  insert into messaging.bots (tenant_id, id, name, description, language, is_active, paused_until,
    hours, core_ai_id, platform_id, meta_data)
  values (p_tenant, p_id, p_body ->> 'name', coalesce(p_body ->> 'description', ''),
    coalesce(p_body ->> 'language', 'en'), coalesce((p_body ->> 'is_active')::bool, true),
    (p_body ->> 'paused_until')::timestamptz, nullif(p_body -> 'hours', 'null'),
    (p_body ->> 'core_ai_id')::uuid, (p_body ->> 'platform_id')::uuid,
    coalesce(p_body -> 'meta_data', '{}'))
  on conflict (tenant_id, id) do update set name = excluded.name,
    description = excluded.description, language = excluded.language,
    is_active = excluded.is_active, paused_until = excluded.paused_until,
    hours = excluded.hours, core_ai_id = excluded.core_ai_id,
    platform_id = excluded.platform_id, meta_data = excluded.meta_data, updated_at = now()
  returning * into b;
  outcome := case when was is null then 'created' else 'updated' end;
  answer := messaging.bot_json(b);
  perform platform.note_audit(
    p_tenant, p_actor, 'bot.put', p_id::text, was, answer, null, p_request_id);
end
$$;
