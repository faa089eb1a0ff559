-- ARGV: an epoch that the caller knows, how many names have a number at most, and then by twos names and the numbers that they are known to have had, '' for a purge.
-- Each that has none as high gets one above all; what it covers needs none any more.
-- Returns epoch, the highest number, and 'full' where there was no room for a name, else 'done'.
local highest, lost = trace({ARGV[1]})
local purged = tonumber(redis.call('HGET', STATE, 'purged') or '0')
local done = 'done'

-- Service, model and tenant of a name; '' covers any.
local function parts(name)
  return string.match(name, '^(.-)\n(.-)\n(.*)$')
end

-- How many names are gone that this one covers.
local function uncover(name)
  local service, model, tenant = parts(name)
  local gone = 0
  for _, covered in ipairs(redis.call('HKEYS', PURGES)) do
    local s, m, t = parts(covered)
    if covered ~= name and s == service and (model == '' or m == model) and (tenant == '' or t == tenant) then
      gone = gone + redis.call('HDEL', PURGES, covered)
    end
  end
  return gone
end

for i = 3, #ARGV, 2 do
  local name, known = ARGV[i], tonumber(ARGV[i + 1])
  local has = redis.call('HGET', PURGES, name)
  if not known or tonumber(has or '0') < known then
    if uncover(name) == 0 and not has and redis.call('HLEN', PURGES) >= tonumber(ARGV[2]) then
      done = 'full'
      break
    end
    purged = math.max(purged + 1, now_us, (known or 0) + 1)
    redis.call('HSET', PURGES, name, whole(purged))
    redis.call('HSET', STATE, 'purged', whole(purged))
  end
end
return {(count(highest, lost)), whole(purged), done}
