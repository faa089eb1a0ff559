-- ARGV: an epoch and a purge number.
-- Returns how many gates and proxies don't have that epoch yet, and servers that number, and one of them, and the time in ms. Who was not
-- heard of for long is forgotten.
notice()
local count_behind, one = 0, ''
for kind, of in pairs({gate = {GATES, ARGV[1]}, proxy = {PROXIES, ARGV[1]}, server = {SERVERS, ARGV[2]}}) do
  local hash, must = unpack(of)
  for name, has in pairs(lately(hash, redis.call('HGETALL', hash))) do
    if has < tonumber(must) then count_behind, one = count_behind + 1, kind .. ' ' .. name end
  end
end
-- An epoch that was lost is nobody's, whatever others have been given since.
if ARGV[1] ~= '0' and not redis.call('ZSCORE', EPOCHS, ARGV[1]) then
  count_behind, one = count_behind + 1, 'the pool'
end
-- Who was told before a loss may be forgotten with it.
local lost_ms = tonumber(redis.call('HGET', STATE, 'lost_ms') or '0')
if math.abs(now_ms - lost_ms) <= LEASE_MS then
  count_behind, one = count_behind + 1, 'whoever was told before the pool lost writes'
end
return {count_behind, one, whole(now_ms)}
