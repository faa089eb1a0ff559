-- ARGV: who reports, the number of its report, for how many ms who reported is remembered, and how many are.
-- Returns 'new' for a report that no gate has counted, 'known' for one that comes again, 'dropped' where there are too many.
local function forget(from, to)
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', REPORTERS, from, to, 'LIMIT', 0, 100)) do
    redis.call('ZREM', REPORTERS, gone)
    redis.call('HDEL', REPORTS, gone)
  end
end
forget('-inf', whole(now_ms - tonumber(ARGV[3])))
-- The clock went back.
forget(whole(now_ms + tonumber(ARGV[3])), '+inf')
local last = redis.call('HGET', REPORTS, ARGV[1])
if not last and redis.call('ZCARD', REPORTERS) >= tonumber(ARGV[4]) then return 'dropped' end
redis.call('ZADD', REPORTERS, whole(now_ms), ARGV[1])
if last and tonumber(last) >= tonumber(ARGV[2]) then return 'known' end
redis.call('HSET', REPORTS, ARGV[1], ARGV[2])
return 'new'
