// One person signs in with a real browser, through an OpenID Connect client that is not ours.
//
// Discovery, authorization code with PKCE, consent, token, ID token (signature, nonce, hash),
// a device's code (RFC 8628), userinfo, refresh with rotation, revocation, and that nothing works
// afterwards.
//
//   ISSUER         http://127.0.0.1:8081
//   CLIENT_ID      a client with authorization_code and refresh_token
//   CLIENT_SECRET  left out for a public client
//   REDIRECT_URI   registered for the client, on loopback; a port of 0 picks a free one
//   USERNAME, PASSWORD
//   SCOPE          asked for; default below
//   DEVICE_ID      optional: a public client with device_code, which the same person connects
//   RESOURCE_URL   optional: a GET through the gateway, to see the token at work and then refused
//   SERVER_ID, SERVER_SECRET  optional: a resource server, which introspects the access token
//   CHROMIUM       path of the browser
//   AFTER_LOGOUT   optional: a registered post_logout_redirect_uri; the browser signs out in the end
//   DPOP           optional: every token is bound to a key (RFC 9449)
//   PAR            optional: the authorization request is pushed (RFC 9126)
//   SCREENSHOTS    optional: see look.mjs

import { createServer } from "node:http";

import { look } from "./look.mjs";
import { oidc } from "./oidc.mjs";
import {
  PATIENCE_MS, expect, failure, fillLogin, openPage, play, required, step, summary, withBrowser,
} from "./parts.mjs";

const oauth = await import("oauth4webapi");

const settings = {
  issuer: required("ISSUER"),
  clientId: required("CLIENT_ID"),
  clientSecret: process.env.CLIENT_SECRET,
  redirectUri: process.env.REDIRECT_URI ?? "http://127.0.0.1:0/callback",
  username: required("USERNAME"),
  password: required("PASSWORD"),
  scope: process.env.SCOPE ?? "openid profile email offline_access records:read",
  deviceId: process.env.DEVICE_ID,
  resourceUrl: process.env.RESOURCE_URL,
  serverId: process.env.SERVER_ID,
  serverSecret: process.env.SERVER_SECRET,
  afterLogout: process.env.AFTER_LOGOUT,
  isBound: Boolean(process.env.DPOP),
  isPushed: Boolean(process.env.PAR),
};

// Of every request for a token, or with one.
const options = {};

async function main() {
  const config = await step("discovery", () => discover(settings.clientId, settings.clientSecret));
  if (settings.isBound) {
    options.DPoP = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair("ES256"));
  }
  const callback = await Callback.open(settings.redirectUri);
  try {
    await withBrowser((browser) => use(config, callback, browser));
  } finally {
    callback.close();
  }
}

async function use(config, callback, browser) {
  const { answer, checks } = await step("login", () => login(config, callback, browser));
  const tokens = await step("token", () => redeem(config, answer, checks));
  await step("consent_denied", () => denyConsent(config, callback, browser));
  if (settings.deviceId) {
    await step("device", () => connectDevice(browser));
  }
  await step("userinfo", () => userinfo(config, tokens));
  if (settings.serverId) {
    await step("introspection", () => introspect(tokens));
  }
  if (settings.resourceUrl) {
    await step("gateway", () => gateway(tokens.access_token, 200));
  }
  const refreshed = await step("refresh", () => refresh(config, tokens));
  await step("revoke", () => oidc.tokenRevocation(config, refreshed.refresh_token));
  await step("refresh_refused", () => refreshIsRefused(config, refreshed));
  await step("userinfo_refused", () => userinfoIsRefused(config, refreshed));
  if (settings.resourceUrl) {
    await step("gateway_refused", () => gateway(refreshed.access_token, 401));
  }
  if (settings.afterLogout) {
    await step("logout", () => logout(config, callback, browser, tokens));
  }
}

// === steps ===

async function discover(clientId, clientSecret) {
  const authentication = clientSecret ? oidc.ClientSecretBasic(clientSecret) : oidc.None();
  const config = await oidc.discovery(
    new URL(settings.issuer),
    clientId,
    undefined,
    authentication,
    // The issuer under test is on loopback, without TLS.
    { execute: settings.issuer.startsWith("http:") ? [oidc.allowInsecureRequests] : [] },
  );
  // Verify the ID token's signature too, although it comes straight from the token endpoint.
  oidc.enableNonRepudiationChecks(config);
  const metadata = config.serverMetadata();
  summary.issuer = metadata.issuer;
  expect(metadata.supportsPKCE(), "the metadata announces PKCE with S256");
  return config;
}

async function login(config, callback, browser) {
  const { url, checks } = await authorizationRequest(config, callback, {});
  const page = await openPage(browser);
  await page.goto(url.href);
  await look(page, "login");
  await fillLogin(page, settings.username, `${settings.password}-but-wrong`);
  await page.waitForSelector('input[name="password"]');
  await look(page, "login-again");
  expect(page.url().startsWith(settings.issuer), "a wrong password stays at the token service");
  const arrived = callback.next();
  await fillLogin(page, settings.username, settings.password);
  await decide(page, "approve", arrived);
  const answer = await arrived;
  await page.close();
  return { answer, checks };
}

async function redeem(config, answer, checks) {
  const tokens = await oidc.authorizationCodeGrant(config, answer, checks, undefined, options);
  const claims = tokens.claims();
  expect(claims?.sub, "the ID token names a subject");
  expect(tokens.refresh_token, "there is a refresh token");
  const type = settings.isBound ? "dpop" : "bearer";
  expect(tokens.token_type.toLowerCase() === type, `the token's type is ${type}`);
  expect(!tokens.access_token.includes("."), "the access token is opaque");
  summary.sub = claims.sub;
  summary.scope = tokens.scope ?? settings.scope;
  return tokens;
}

// The person is still signed in: only the consent page may come, and "no" must reach the client.
async function denyConsent(config, callback, browser) {
  const { url, checks } = await authorizationRequest(config, callback, { prompt: "consent" });
  const page = await openPage(browser);
  const arrived = callback.next();
  await page.goto(url.href);
  await look(page, "consent");
  await page.click('button[name="decision"][value="deny"]');
  const answer = await arrived;
  await page.close();
  const error = await failure(oidc.authorizationCodeGrant(config, answer, checks, undefined, options));
  expect(error.error === "access_denied", `the client hears access_denied, not ${error.error}`);
}

// The person is still signed in: the link brings the code along, and nothing but a click on "Allow"
// gives the device anything.
async function connectDevice(browser) {
  const config = await discover(settings.deviceId);
  const request = { scope: "openid offline_access" };
  const device = await oidc.initiateDeviceAuthorization(config, request);
  const page = await openPage(browser);
  await page.goto(device.verification_uri_complete);
  await look(page, "device");
  await page.click('form:has(input[name="user_code"]) button[type="submit"]');
  const shown = await page.textContent(".code");
  expect(shown === device.user_code, `the page shows ${device.user_code}, not ${shown}`);
  await look(page, "device-consent");
  await page.click('button[name="decision"][value="approve"]');
  await page.waitForSelector("text=Your device is connected");
  await look(page, "device-connected");
  await page.close();
  // The first poll comes after one interval; the service does not mind an earlier one.
  const tokens = await oidc.pollDeviceAuthorizationGrant(config, { ...device, interval: 1 });
  expect(tokens.claims()?.sub === summary.sub, "the device acts for the person who allowed it");
  expect(tokens.refresh_token, "the device gets a refresh token");
}

async function userinfo(config, tokens) {
  const claims = await oidc.fetchUserInfo(config, tokens.access_token, tokens.claims().sub, options);
  if (settings.isBound) {
    // Whoever finds the token has nothing.
    const stolen = await failure(oidc.fetchUserInfo(config, tokens.access_token, tokens.claims().sub));
    expect(statusOf(stolen) === 401, `without a proof the answer is 401, not ${statusOf(stolen)}`);
  }
  summary.userinfo = Object.keys(claims).sort();
}

// As JSON and signed (RFC 9701), by the library beneath the client.
async function introspect(tokens) {
  const insecure = { [oauth.allowInsecureRequests]: settings.issuer.startsWith("http:") };
  const issuer = new URL(settings.issuer);
  const found = await oauth.discoveryRequest(issuer, insecure);
  const server = await oauth.processDiscoveryResponse(issuer, found);
  const proven = oauth.ClientSecretBasic(settings.serverSecret);
  const caller = { client_id: settings.serverId, introspection_signed_response_alg: "ES256" };
  for (const requestJwtIntrospectionResponse of [false, true]) {
    const response = await oauth.introspectionRequest(server, caller, proven, tokens.access_token, {
      ...insecure,
      requestJwtIntrospectionResponse,
    });
    const told = await oauth.processIntrospectionResponse(server, caller, response);
    if (requestJwtIntrospectionResponse) {
      await oauth.validateApplicationLevelSignature(server, response, insecure);
    }
    expect(told.active && told.sub === summary.sub, "the token is active, and its person's");
    const bound = told.cnf?.jkt !== undefined;
    expect(bound === settings.isBound, "introspection says whether the token is bound");
  }
}

async function refresh(config, tokens) {
  const refreshed = await oidc.refreshTokenGrant(config, tokens.refresh_token, undefined, options);
  expect(refreshed.access_token !== tokens.access_token, "the access token is a new one");
  expect(refreshed.refresh_token, "the refresh token is rotated");
  expect(refreshed.refresh_token !== tokens.refresh_token, "the refresh token is a new one");
  return refreshed;
}

async function refreshIsRefused(config, tokens) {
  const error = await failure(oidc.refreshTokenGrant(config, tokens.refresh_token, undefined, options));
  expect(error.error === "invalid_grant", `the answer is invalid_grant, not ${error.error}`);
}

async function userinfoIsRefused(config, tokens) {
  const error = await failure(oidc.fetchUserInfo(config, tokens.access_token, summary.sub, options));
  expect(statusOf(error) === 401, `the answer is 401, not ${statusOf(error)}`);
}

function statusOf(error) {
  return error.status ?? error.response?.status ?? error.cause?.status;
}

// The ID token says whose login it is, so that nobody is asked; then nobody is signed in any more.
async function logout(config, callback, browser, tokens) {
  const page = await openPage(browser);
  // A link alone ends nothing: the person is asked.
  await page.goto(`${settings.issuer}/logout`);
  await page.waitForSelector('button[type="submit"]');
  await look(page, "logout");
  const state = oidc.randomState();
  const end = oidc.buildEndSessionUrl(config, {
    id_token_hint: tokens.id_token,
    post_logout_redirect_uri: settings.afterLogout,
    state,
  });
  await page.goto(end.href);
  const expected = `${settings.afterLogout}?state=${state}`;
  expect(page.url() === expected, `the browser is at ${expected}, not at ${page.url()}`);
  const { url } = await authorizationRequest(config, callback, { prompt: "none" });
  const arrived = callback.next();
  await page.goto(url.href);
  const error = (await arrived).searchParams.get("error");
  expect(error === "login_required", `the client hears login_required, not ${error}`);
  await page.goto(`${settings.issuer}/logout`);
  await look(page, "signed-out");
  await page.goto(`${settings.issuer}/authorize?client_id=nobody`);
  await look(page, "error");
  await page.close();
}

async function gateway(accessToken, expected) {
  // A revocation reaches the gateway by its event log: soon, not at once.
  const deadline = Date.now() + 1_000;
  for (;;) {
    const answer = await fetch(settings.resourceUrl, {
      headers: { authorization: `Bearer ${accessToken}` },
    });
    await answer.arrayBuffer();
    if (answer.status === expected) return;
    expect(Date.now() < deadline, `the gateway answers ${expected}, not ${answer.status}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

// === parts ===

async function authorizationRequest(config, callback, more) {
  const verifier = oidc.randomPKCECodeVerifier();
  const checks = {
    pkceCodeVerifier: verifier,
    expectedState: oidc.randomState(),
    expectedNonce: oidc.randomNonce(),
    idTokenExpected: true,
  };
  const parameters = {
    redirect_uri: callback.uri,
    scope: settings.scope,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    ...more,
  };
  const url = settings.isPushed
    ? await oidc.buildAuthorizationUrlWithPAR(config, parameters, options)
    : oidc.buildAuthorizationUrl(config, parameters);
  return { url, checks };
}

// Clicks through the consent page, where one comes; a client may be configured not to ask.
async function decide(page, value, arrived) {
  const button = page.locator(`button[name="decision"][value="${value}"]`);
  const asked = await Promise.race([
    // When the redirect wins, the page is gone before the button can come.
    button.waitFor().then(
      () => true,
      () => false,
    ),
    arrived.then(() => false),
  ]);
  summary.consent ??= asked;
  if (asked) await button.click();
}

// The client's own redirect endpoint.
class Callback {
  static async open(uri) {
    const wanted = new URL(uri);
    const callback = new Callback();
    callback.server = createServer((request, response) => {
      const url = new URL(request.url, callback.uri);
      const expected = url.pathname === wanted.pathname;
      response.writeHead(expected ? 200 : 404, { "content-type": "text/plain" });
      response.end(expected ? "You may close this window.\n" : "Nothing here.\n");
      if (expected) callback.resolve?.(url);
    });
    await new Promise((resolve, reject) => {
      callback.server.once("error", reject);
      callback.server.listen(Number(wanted.port || 80), wanted.hostname, resolve);
    });
    wanted.port = String(callback.server.address().port);
    callback.uri = wanted.href;
    return callback;
  }

  // The next redirect that arrives.
  next() {
    return new Promise((resolve, reject) => {
      this.timer = setTimeout(() => reject(new Error("no redirect arrived")), PATIENCE_MS);
      this.resolve = (url) => {
        clearTimeout(this.timer);
        resolve(url);
      };
    });
  }

  close() {
    clearTimeout(this.timer);
    this.server.closeAllConnections();
    this.server.close();
  }
}

await play(main);
