-- ARGV: instance, h or l, digest of the record, the record or '' when it should be there, an epoch that the caller knows,
-- 1 when it has spoken before and was never answered, and the highest purge number that it knows.
-- Returns epoch, time in ms, and 'lacking' when the record must come along, 'written' when it is new here, else 'known'; then the highest
-- purge number, and all of them unless that is the caller's.
local instance, state, digest, record = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local highest, lost = trace({ARGV[5]})
local beat = redis.call('HGET', BEATS, instance)
local changed, before = string.match(beat or '', '^%d+ (%d+) %d+ %a (%x+)$')
-- What it said may have been heard, told to others and forgotten.
if ARGV[6] == '1' and not beat then forgot() end
if state == 'l' then
  redis.call('HDEL', SERVERS, instance)
else
  redis.call('HSET', SERVERS, instance, whole(now_ms) .. ' ' .. ARGV[7])
end
local purged, purges = purges_for(ARGV[7])
if before ~= digest or redis.call('HEXISTS', RECORDS, instance) == 0 then
  if record == '' then
    return {(count(highest, lost)), whole(now_ms), 'lacking', purged, purges}
  end
  redis.call('HSET', RECORDS, instance, record)
  changed = nil
end
local order = whole(redis.call('HINCRBY', STATE, 'order', 1))
redis.call('HSET', BEATS, instance, table.concat({order, changed or order, whole(now_ms), state, digest}, ' '))
return {(count(highest, lost)), whole(now_ms), changed and 'known' or 'written', purged, purges}
