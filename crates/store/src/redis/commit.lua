-- A whole batch, or nothing of it. Each write has one key and four arguments:
-- kind, value, time to live in milliseconds (or nothing), expected value.
-- ARGV[1] is how many events a log keeps.
local function argument(write, n)
  return ARGV[1 + (write - 1) * 4 + n]
end

for write, key in ipairs(KEYS) do
  local kind = argument(write, 1)
  if kind == 'put_new' then
    if redis.call('EXISTS', key) == 1 then return 0 end
  elseif kind == 'replace' then
    if redis.call('GET', key) ~= argument(write, 4) then return 0 end
  end
end

for write, key in ipairs(KEYS) do
  local kind, value, ttl = argument(write, 1), argument(write, 2), argument(write, 3)
  if kind == 'delete' then
    redis.call('DEL', key)
  elseif kind == 'append' then
    redis.call('XADD', key, 'MAXLEN', '~', ARGV[1], '*', 'event', value)
  elseif ttl == '' then
    redis.call('SET', key, value)
  else
    redis.call('SET', key, value, 'PX', ttl)
  end
end
return 1
