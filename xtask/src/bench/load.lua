-- wrk's requests: the bytes of two files with eight digits between them that are new every time, or one file as it is.
-- Arguments: first number, head, tail, milliseconds that a connection rests before each request, then headers as name=value.

local head, tail, number

local function read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("*a")
  file:close()
  return bytes
end

function init(args)
  number, head, tail = tonumber(args[1]), read(args[2]), read(args[3])
  wrk.method = "POST"
  local rest = tonumber(args[4])
  if rest > 0 then
    delay = function() return rest end
  end
  for index = 5, #args do
    local name, value = args[index]:match("^(.-)=(.*)$")
    wrk.headers[name] = value
  end
  wrk.body = head
  if tail == "" then
    local same = wrk.format()
    request = function() return same end
  end
end

function request()
  number = number + 1
  return wrk.format(nil, nil, nil, head .. string.format("%08d", number) .. tail)
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format("result %d %d %d %d", summary.requests, summary.duration, latency:percentile(50),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
