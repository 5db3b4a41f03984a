-- The last entry. An empty stream gets a first one that is no event, because a position that
-- names no entry could not show later that the stream was flushed.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if #last == 1 then
  return last[1][1]
end
return redis.call('XADD', KEYS[1], '*', 'start', '')
