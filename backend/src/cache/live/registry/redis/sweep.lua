-- ARGV: by twos instances and their beats. Those that have not been heard of since are forgotten.
for i = 1, #ARGV, 2 do
  if redis.call('HGET', BEATS, ARGV[i]) == ARGV[i + 1] then
    redis.call('HDEL', BEATS, ARGV[i])
    redis.call('HDEL', RECORDS, ARGV[i])
  end
end
return 0
