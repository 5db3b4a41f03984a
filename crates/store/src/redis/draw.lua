-- One of what comes back evenly: between two, and how far ahead one may be, in microseconds.
local interval, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local full = tonumber(redis.call('GET', KEYS[1]) or now)
if full < now then full = now end
local ahead = full + interval - now
if ahead > most then
  return {0, full - now, ahead - most}
end
redis.call('SET', KEYS[1], string.format('%.0f', now + ahead), 'PX', math.ceil(ahead / 1000))
return {1, ahead, 0}
