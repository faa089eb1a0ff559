-- What the other scripts begin with. The time comes before it as now_us, with ALIVE_MS and KEPT_EPOCHS.
-- BEATS: instance -> "<order> <order of the last change> <ms> <h or l> <digest of the record>"; h is here, l has left.
-- RECORDS: instance -> what it serves, as JSON. STATE: epoch, signature of what it belongs to, order, lost_ms.
-- EPOCHS: every epoch that was ever given out, the last KEPT_EPOCHS of them.
-- PROXIES, GATES: name -> "<ms> <epoch that it has>".
local BEATS, RECORDS, STATE, EPOCHS, PROXIES, GATES = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local now_ms = math.floor(now_us / 1000)

local function whole(number)
  return string.format('%.0f', number)
end

-- Were these epochs given out here? One that was not tells of writes that were lost on the way, by a failover, a restart or an
-- eviction: what was said before may be older than what the caller has heard. All of it is forgotten then; who is alive says it
-- again within a heartbeat. Returns the highest epoch that anybody may know.
local function trace(known)
  local highest, lost, oldest = tonumber(redis.call('HGET', STATE, 'epoch') or '0'), false, 0
  local last = redis.call('ZREVRANGE', EPOCHS, 0, 0)[1]
  if last then highest = math.max(highest, tonumber(last)) end
  if redis.call('ZCARD', EPOCHS) >= KEPT_EPOCHS then
    oldest = tonumber(redis.call('ZRANGE', EPOCHS, 0, 0)[1])
  end
  for _, epoch in ipairs(known) do
    local number = tonumber(epoch)
    highest = math.max(highest, number)
    if number > oldest and not redis.call('ZSCORE', EPOCHS, epoch) then
      lost = true
      redis.call('ZADD', EPOCHS, epoch, epoch)
    end
  end
  if lost then redis.call('DEL', BEATS, RECORDS) end
  -- A pool that has given out no epoch may be one that has forgotten all: who polls, too.
  if lost or redis.call('HEXISTS', STATE, 'epoch') == 0 then
    redis.call('HSET', STATE, 'lost_ms', whole(now_ms))
  end
  return highest, lost
end

-- The epoch of what is said now: another one whenever the table may be another. It is made of what the table is made of: who
-- said what, who is alive, and in which order those spoke that are not.
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
  local signature = redis.sha1hex(table.concat(parts, '\n'))
  if not lost and redis.call('HGET', STATE, 'signature') == signature then
    return redis.call('HGET', STATE, 'epoch') or '0', signature
  end
  local epoch = whole(math.max(highest + 1, now_us))
  redis.call('HSET', STATE, 'epoch', epoch, 'signature', signature)
  redis.call('ZADD', EPOCHS, epoch, epoch)
  redis.call('ZREMRANGEBYRANK', EPOCHS, 0, -KEPT_EPOCHS - 1)
  return epoch, signature
end
