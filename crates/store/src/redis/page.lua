-- What comes after a position. Nothing at all where the entry at the position is gone: then
-- nobody can say what else is. Trimming takes from the old end only, so as long as that entry
-- is there, everything after it is.
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then
  return false
end
return redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
