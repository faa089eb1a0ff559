-- ARGV: gate, the epoch of its table, the signature of its table, the highest purge number that it knows, how many epochs follow that
-- it or its proxies know, these, and then by twos proxies and the epochs that they have.
-- Returns epoch, signature, time in ms, beats, records; the last two are empty when the signature is the gate's; then the highest purge
-- number, and all of them unless that is the gate's.
local known = {}
local proxies = 6 + tonumber(ARGV[5])
for i = 6, proxies - 1 do known[#known + 1] = ARGV[i] end
local epoch, signature = count(trace(known))
-- Who polls no more is forgotten though nothing is loaded; as much is looked at as comes, and more.
for field, hash in pairs({looked_proxies = PROXIES, looked_gates = GATES, looked_servers = SERVERS}) do
  local from = redis.call('HGET', STATE, field) or '0'
  local to, heard = unpack(redis.call('HSCAN', hash, from, 'COUNT', 100 + #ARGV))
  lately(hash, heard)
  if to ~= from then redis.call('HSET', STATE, field, to) end
end
for i = proxies, #ARGV, 2 do
  local before = string.match(redis.call('HGET', PROXIES, ARGV[i]) or '', '^%d+ (%d+)$')
  local has = ARGV[i + 1]
  if before and tonumber(before) > tonumber(has) then has = before end
  redis.call('HSET', PROXIES, ARGV[i], whole(now_ms) .. ' ' .. has)
end
-- Always: where nothing can be written, nothing that is read can be trusted for long.
redis.call('HSET', GATES, ARGV[1], whole(now_ms) .. ' ' .. ARGV[2])
local purged, purges = purges_for(ARGV[4])
if signature == ARGV[3] then return {epoch, signature, whole(now_ms), {}, {}, purged, purges} end
return {epoch, signature, whole(now_ms), redis.call('HGETALL', BEATS), redis.call('HGETALL', RECORDS), purged, purges}
