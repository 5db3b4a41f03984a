-- Asks a gateway of Cedargate about a request (`dialect: forwarded`): haproxy.cfg says how it is loaded.

-- What the client hears of a refusal.
local PASSED_ON = { "www-authenticate", "content-type", "retry-after", "dpop-nonce" }

-- The values of a header, in order. HAProxy counts them from 0.
local function list(values)
  local found, index = {}, 0
  while values and values[index] do
    found[#found + 1] = values[index]
    index = index + 1
  end
  return found
end

local function refuse(txn, status, headers, body)
  local reply = txn:reply { status = status, body = body }
  for _, name in ipairs(PASSED_ON) do
    for _, value in ipairs(list(headers[name])) do
      reply:add_header(name, value)
    end
  end
  txn:done(reply)
end

-- What the gateway reads, and what it refuses a request for. No more than that: a client can send very many
-- headers. Add the headers that your routes make questions of: what is not shown is decided as if it were not there.
local SENT = {}
for _, name in ipairs {
  "authorization", "dpop", "upgrade", "x-http-method", "x-http-method-override", "x-method-override",
  "x-middleware-subrequest", "x-original-url", "x-rewrite-url", "traceparent", "user-agent",
} do
  SENT[name] = true
end

core.register_action("cedargate", { "http-req" }, function(txn, url)
  local given = txn.http:req_get_headers()
  local headers = {}
  for name, values in pairs(given) do
    -- What is behind may read `_` as `-`.
    if SENT[(name:gsub("_", "-"))] then
      headers[name] = list(values)
    end
  end
  headers["x-forwarded-method"] = { txn.f:method() }
  headers["x-forwarded-uri"] = { txn.f:pathq() }
  headers["x-forwarded-host"] = list(given["host"])
  headers["x-forwarded-for"] = { txn.f:src() }

  local asked, answer = pcall(function()
    return core.httpclient():get { url = url, headers = headers, timeout = 5000 }
  end)
  if not asked or answer == nil or answer.status == 0 then
    return refuse(txn, 503, {}, "")
  end
  if answer.status ~= 200 then
    return refuse(txn, answer.status, answer.headers or {}, answer.body or "")
  end
  -- The JWT in the place of the caller's token; nothing where there is none.
  local jwt = list(answer.headers["authorization"])[1] or ""
  if jwt == "" then
    txn.http:req_del_header("authorization")
  else
    txn.http:req_set_header("authorization", jwt)
  end
  -- Last: whatever fails before this line is a no.
  txn:set_var("txn.cedargate", "yes")
end, 1)
