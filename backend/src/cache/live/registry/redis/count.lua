-- What the other scripts begin with. The time comes before it as now_us, with ALIVE_MS, LEASE_MS and KEPT_EPOCHS, and as run
-- which Redis it is: another one after a failover or a restart, '' where that is not told.
-- BEATS: instance -> "<order> <order of the last change> <ms> <h or l> <digest of the record>"; h is here, l has left.
-- RECORDS: instance -> what it serves, as JSON. STATE: epoch, signature of what it belongs to, order, lost_ms, floor, run,
-- looked_proxies, looked_gates and looked_servers: how far those were looked through.
-- EPOCHS: every epoch that was ever given out, the last KEPT_EPOCHS of them.
-- PROXIES, GATES: name -> "<ms> <epoch that it has>".
-- SERVERS: instance -> "<ms> <the highest purge number that it knows>". PURGES: name -> its number; STATE has the highest as purged.
-- REPORTS: who reports -> the number of its last report. REPORTERS: the same by when they were heard of, in ms.
local BEATS, RECORDS, STATE, EPOCHS, PROXIES, GATES = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local REPORTS, REPORTERS, SERVERS, PURGES = KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local now_ms = math.floor(now_us / 1000)

local function whole(number)
  return string.format('%.0f', number)
end

-- Who polls may be forgotten: until those that were told before are surely gone, nobody is told that all know.
local function forgot()
  redis.call('HSET', STATE, 'lost_ms', whole(now_ms))
end

-- Of who polls, as the hash has it: the epochs of those that were heard of lately. Others are forgotten. Who was heard of in a time
-- to come was so before the clock went back, and may be there still with what is old: that is as a loss.
local function lately(hash, heard)
  local there = {}
  for i = 1, #heard, 2 do
    local ms, epoch = string.match(heard[i + 1], '^(%d+) (%d+)$')
    local ago = now_ms - tonumber(ms or '0')
    if math.abs(ago) <= LEASE_MS then
      there[heard[i]] = tonumber(epoch)
    else
      redis.call('HDEL', hash, heard[i])
      if ago < 0 then forgot() end
    end
  end
  return there
end

-- A failover or a restart may have lost the last writes, and with them who polls, without losing an epoch that anybody knows.
local function notice()
  local before = redis.call('HGET', STATE, 'run')
  if run == '' or before == run then return end
  redis.call('HSET', STATE, 'run', run)
  if before then forgot() end
end

-- Were these epochs given out here? One that was not tells of writes that were lost on the way, by a failover, a restart or an
-- eviction: what was said before may be older than what the caller has heard. All of it is forgotten then; who is alive says it
-- again within a heartbeat. An epoch up to the floor says nothing new: all that is here was said after it was given out.
-- Returns the highest epoch that anybody may know.
local function trace(known)
  notice()
  local highest, lost = tonumber(redis.call('HGET', STATE, 'epoch') or '0'), false
  local last = redis.call('ZREVRANGE', EPOCHS, 0, 0)[1]
  if last then highest = math.max(highest, tonumber(last)) end
  local floor = tonumber(redis.call('HGET', STATE, 'floor') or '0')
  if redis.call('ZCARD', EPOCHS) >= KEPT_EPOCHS then
    floor = math.max(floor, tonumber(redis.call('ZRANGE', EPOCHS, 0, 0)[1]))
  end
  for _, epoch in ipairs(known) do
    local number = tonumber(epoch)
    highest = math.max(highest, number)
    if number > floor and not redis.call('ZSCORE', EPOCHS, epoch) then
      lost = true
      redis.call('ZADD', EPOCHS, epoch, epoch)
    end
  end
  if lost then
    redis.call('DEL', BEATS, RECORDS)
    forgot()
  end
  return highest, lost
end

-- The highest purge number, and all numbers for who knows another one.
local function purges_for(known)
  local purged = redis.call('HGET', STATE, 'purged') or '0'
  return purged, purged ~= known and redis.call('HGETALL', PURGES) or {}
end

-- The epoch of what is said now: another one whenever the table may be another. It is made of what the table is made of: who
-- said what, who is alive, in which order those spoke that are not, and what was purged.
local function count(highest, lost)
  local parts, beats = {}, redis.call('HGETALL', BEATS)
  for i = 1, #beats, 2 do
    local order, changed, ms, state, digest = string.match(beats[i + 1], '^(%d+) (%d+) (%d+) (%a) (%x+)$')
    if order then
      local alive = state == 'h' and math.abs(now_ms - tonumber(ms)) <= ALIVE_MS
      parts[#parts + 1] = table.concat({beats[i], digest, changed, alive and 'alive' or order}, ' ')
    end
  end
  table.sort(parts)
  parts[#parts + 1] = redis.call('HGET', STATE, 'purged') or '0'
  local signature = redis.sha1hex(table.concat(parts, '\n'))
  if not lost and redis.call('HGET', STATE, 'signature') == signature then
    return redis.call('HGET', STATE, 'epoch') or '0', signature
  end
  -- Where the clock is behind no two runs count alike, so that what one lost isn't given out again by the next.
  local step = 1 + (tonumber(string.sub(run, 1, 4), 16) or 0)
  local epoch = whole(math.max(highest + step, now_us))
  redis.call('HSET', STATE, 'epoch', epoch, 'signature', signature)
  if lost then redis.call('HSET', STATE, 'floor', epoch) end
  redis.call('ZADD', EPOCHS, epoch, epoch)
  redis.call('ZREMRANGEBYRANK', EPOCHS, 0, -KEPT_EPOCHS - 1)
  return epoch, signature
end
