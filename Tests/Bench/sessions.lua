-- Requests to assignment-engine. Arguments: what to do, a key, and
--   open:   a team or "tenants"; hands new conversations over. "tenants" needs the service's token and
--           a file with a tenant's code and its team in each line.
--   assign: a file of session ids; runs the engine for each of them once.
--   events: how many events to report in one request.

local headers, what, second = { ["Content-Type"] = "application/json" }, nil, nil
local lines, number = {}, 0

function init(arguments)
  math.randomseed(os.time() + tonumber(tostring({}):match("0x(%x+)"), 16) % 1000000)
  what, second = arguments[1], arguments[3]
  headers["Authorization"] = "Bearer " .. arguments[2]
  if arguments[4] then
    for line in io.lines(arguments[4]) do lines[#lines + 1] = line end
  end
end

local function id()
  return string.format(
    "%08x-%04x-4%03x-8%03x-%06x%06x", math.random(0, 0xffffffff), math.random(0, 0xffff),
    math.random(0, 0xfff), math.random(0, 0xfff), math.random(0, 0xffffff), math.random(0, 0xffffff)
  )
end

local function event()
  return string.format(
    '{"id": "%s", "name": "bench.seen", "at": "%s", "properties": {"page": "/home"}}',
    id(), os.date("!%Y-%m-%dT%H:%M:%SZ")
  )
end

function request()
  number = number + 1
  if what == "assign" then
    return wrk.format("POST", "/v1/sessions/" .. (lines[number] or lines[#lines]) .. "/assign", headers)
  elseif what == "events" then
    local events = {}
    for n = 1, tonumber(second) do events[n] = event() end
    local body = '{"events": [' .. table.concat(events, ", ") .. "]}"
    return wrk.format("POST", "/v1/events", headers, body)
  end
  local team = second
  if team == "tenants" then
    local line = lines[math.random(#lines)]
    headers["Switchboard-Tenant"], team = line:match("(%S+) (%S+)")
  end
  headers["Idempotency-Key"] = id()
  local body = string.format(
    '{"conversation_id": "%s", "contact_id": "%s", "team_id": "%s", "source": "handover"}',
    id(), id(), team
  )
  return wrk.format("POST", "/v1/sessions", headers, body)
end
