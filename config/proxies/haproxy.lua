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

core.register_action("cedargate", { "http-req" }, function(txn, url)
  -- The headers as the client sent them, but for what the dialect says: that is ours alone to say.
  local headers = {}
  for name, values in pairs(txn.http:req_get_headers()) do
    headers[name] = list(values)
  end
  for _, name in ipairs { "content-length", "transfer-encoding", "connection", "upgrade", "expect" } do
    headers[name] = nil
  end
  headers["x-forwarded-method"] = { txn.f:method() }
  headers["x-forwarded-uri"] = { txn.f:pathq() }
  headers["x-forwarded-host"] = headers["host"]
  headers["x-forwarded-for"] = { txn.f:src() }
  headers["host"] = nil

  local answer = core.httpclient():get { url = url, headers = headers, timeout = 5000 }
  -- No answer means no.
  if answer == nil or answer.status == 0 then
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
end, 1)
