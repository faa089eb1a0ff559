-- ARGV: an epoch, and for how many ms one that was heard of counts.
-- Returns how many gates and proxies don't have that epoch yet, and one of them. Who was not heard of for long is forgotten.
notice()
local count_behind, one = 0, ''
for _, hash in ipairs({GATES, PROXIES}) do
  local heard = redis.call('HGETALL', hash)
  for i = 1, #heard, 2 do
    local ms, epoch = string.match(heard[i + 1], '^(%d+) (%d+)$')
    if not ms or now_ms - tonumber(ms) > tonumber(ARGV[2]) then
      redis.call('HDEL', hash, heard[i])
    elseif tonumber(epoch) < tonumber(ARGV[1]) then
      count_behind, one = count_behind + 1, (hash == GATES and 'gate ' or 'proxy ') .. heard[i]
    end
  end
end
-- An epoch that was lost is nobody's, whatever others have been given since.
if ARGV[1] ~= '0' and not redis.call('ZSCORE', EPOCHS, ARGV[1]) then
  count_behind, one = count_behind + 1, 'the pool'
end
-- Who was told before a loss may be forgotten with it.
local lost_ms = tonumber(redis.call('HGET', STATE, 'lost_ms') or '0')
if math.abs(now_ms - lost_ms) <= tonumber(ARGV[2]) then
  count_behind, one = count_behind + 1, 'whoever was told before the pool lost writes'
end
return {count_behind, one}
