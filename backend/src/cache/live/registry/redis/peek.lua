-- Returns time in ms, beats, records; changes nothing.
return {whole(now_ms), redis.call('HGETALL', BEATS), redis.call('HGETALL', RECORDS)}
