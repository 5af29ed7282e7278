-- Posts messages over many conversations. Arguments: a file of conversation ids, the key, and how
-- many of the ids to use.

local ids, paths, headers, body = {}, {}, {}, nil
local count, number = 0, 0
local process = string.format("%x", math.random(2 ^ 31 - 1))

function init(arguments)
  math.randomseed(os.time() + tonumber(tostring({}):match("0x(%x+)"), 16) % 1000000)
  process = string.format("%x-%x", os.time(), math.random(2 ^ 31 - 1))
  for id in io.lines(arguments[1]) do
    count = count + 1
    paths[count] = "/v1/conversations/" .. id .. "/messages"
    if count == tonumber(arguments[3]) then break end
  end
  headers["Authorization"] = "Bearer " .. arguments[2]
  headers["Content-Type"] = "application/json"
  body = '{"sender": {"kind": "contact", "id": "bench"}, "text": "Where is my refund for order 12?"}'
end

function request()
  number = number + 1
  headers["Idempotency-Key"] = process .. "-" .. number
  return wrk.format("POST", paths[math.random(count)], headers, body)
end
