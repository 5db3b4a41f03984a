-- For wrk: every request with the next of many tokens.
local tokens, next_token = {}, 0
for line in io.lines(os.getenv("BENCH_TOKENS")) do tokens[#tokens + 1] = line end

request = function()
  next_token = next_token % #tokens + 1
  return wrk.format(nil, nil, { Authorization = "Bearer " .. tokens[next_token] })
end
