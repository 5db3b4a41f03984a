// A client that nobody has configured registers itself (RFC 7591), by an OpenID Connect client library
// that is not ours; a person lets it in with a real browser; and it changes and ends itself (RFC 7592).
//
// The last line of the output is a JSON summary, with `true` for each step that went as it must; the
// first that does not ends the flow with exit code 1.
//
//   ISSUER         http://127.0.0.1:8081
//   INITIAL_TOKEN  an initial access token
//   CALLBACK_HOST  an address on loopback, where the client listens for its answer
//   USERNAME, PASSWORD
//   RESOURCE_URL   a GET through the gateway, to see the token at work and then refused
//   CHROMIUM       path of the browser

import { createServer } from "node:http";

import { oidc } from "./oidc.mjs";
import { PATIENCE_MS, decide, eventually, expect, failure, fillLogin, openPage, play, required, step, withBrowser } from "./parts.mjs";

const SCOPE = "openid offline_access records:read";

const issuer = required("ISSUER");
const initialToken = required("INITIAL_TOKEN");
const callbackHost = required("CALLBACK_HOST");
const username = required("USERNAME");
const password = required("PASSWORD");
const resource = required("RESOURCE_URL");

async function main() {
  const callback = await listen();
  try {
    await step("refused", () => isRefusedWithoutToken(callback));
    const config = await step("register", () => register(callback, initialToken));
    await withBrowser(async (browser) => {
      const tokens = await step("login", () => login(config, callback, browser));
      await step("userinfo", () => oidc.fetchUserInfo(config, tokens.access_token, tokens.claims().sub));
      const refreshed = await step("refresh", () => oidc.refreshTokenGrant(config, tokens.refresh_token));
      await step("gateway", () => gateway(refreshed.access_token, 200));
      await step("manage", () => manage(config));
      await step("gateway_refused", () => gateway(refreshed.access_token, 401));
      await step("ended", () => isNobody(config, refreshed));
    });
  } finally {
    callback.server.closeAllConnections();
    callback.server.close();
  }
}

// === steps ===

function register(callback, initialAccessToken) {
  const metadata = {
    client_name: "Field notes",
    redirect_uris: [callback.uri],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "client_secret_basic",
    scope: SCOPE,
  };
  const options = { initialAccessToken, execute: [oidc.allowInsecureRequests] };
  return oidc.dynamicClientRegistration(new URL(issuer), metadata, undefined, options);
}

async function isRefusedWithoutToken(callback) {
  const status = statusOf(await failure(register(callback, undefined)));
  expect(status === 401, `without a token the answer is 401, not ${status}`);
}

async function isNobody(config, tokens) {
  const status = statusOf(await failure(oidc.refreshTokenGrant(config, tokens.refresh_token)));
  expect(status === 401, `the client that has ended hears 401, not ${status}`);
}

async function login(config, callback, browser) {
  const pkceCodeVerifier = oidc.randomPKCECodeVerifier();
  const expectedState = oidc.randomState();
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: callback.uri,
    scope: SCOPE,
    code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: "S256",
    state: expectedState,
  });
  const page = await openPage(browser);
  await page.goto(url.href);
  await fillLogin(page, username, password);
  // Always asked, and told what is known of who asks.
  await page.waitForSelector("text=has registered itself");
  const arrived = callback.next();
  await decide(page, "approve");
  const answer = await arrived;
  await page.close();
  const checks = { pkceCodeVerifier, expectedState, idTokenExpected: true };
  const tokens = await oidc.authorizationCodeGrant(config, answer, checks);
  expect(tokens.refresh_token, "there is a refresh token");
  return tokens;
}

// By what the registration said, and nothing else.
async function manage(config) {
  const own = config.clientMetadata();
  const send = async (token, method, body) => {
    const answer = await fetch(own.registration_client_uri, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    return { status: answer.status, body: await answer.json().catch(() => undefined) };
  };
  const first = own.registration_access_token;
  const shown = await send(first, "GET");
  expect(shown.body?.client_name === "Field notes", "the client sees itself");
  const changed = await send(first, "PUT", { ...shown.body, client_name: "Field notebook" });
  expect(changed.body?.client_name === "Field notebook", `changed: ${JSON.stringify(changed)}`);
  expect((await send(first, "GET")).status === 401, "the first token is used up");
  const ended = await send(changed.body.registration_access_token, "DELETE");
  expect(ended.status === 204, `the end is answered by 204, not ${ended.status}`);
}

// What ends reaches the gateway by its event log: soon, not at once.
function gateway(accessToken, expected) {
  return eventually(`the gateway answers ${expected}`, async () => {
    const headers = { authorization: `Bearer ${accessToken}` };
    const answer = await fetch(resource, { headers });
    await answer.arrayBuffer();
    return answer.status === expected;
  });
}

// === parts ===

// The client's own redirect endpoint, on a free port.
async function listen() {
  const callback = {
    next: () =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error("no redirect arrived")), PATIENCE_MS);
        callback.arrive = (url) => {
          clearTimeout(timer);
          resolve(url);
        };
      }),
  };
  callback.server = createServer((request, response) => {
    const url = new URL(request.url, callback.uri);
    const expected = url.pathname === "/callback";
    response.writeHead(expected ? 200 : 404, { "content-type": "text/plain" });
    response.end("You may close this window.\n");
    if (expected) callback.arrive?.(url);
  });
  await new Promise((resolve, reject) => {
    callback.server.once("error", reject);
    callback.server.listen(0, callbackHost, resolve);
  });
  callback.uri = `http://${callbackHost}:${callback.server.address().port}/callback`;
  return callback;
}

function statusOf(error) {
  return error.status ?? error.response?.status ?? error.cause?.status;
}

// Last, when everything above is defined.
await play(main);
