// One person signs in through another provider: oidc-provider from npm is the other provider, Chromium the
// browser, openid-client the application.
//
// Sign-in without JavaScript, token, a request through the gateway, logout here that reaches the provider,
// and logout at the provider that reaches here.
//
//   ISSUER, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, AFTER_LOGOUT   as for flow.mjs
//   PROVIDER_URL   where the other provider listens: its issuer
//   PROVIDER_ID    what it is called in the configuration under test
//   RESOURCE_URL   a GET through the gateway that support staff alone may do
//   CHROMIUM       path of the browser
//   SCREENSHOTS    optional: a folder for pictures, see look.mjs

import { createServer } from "node:http";

import { look } from "./look.mjs";
import { clientWithSecret, oidc } from "./oidc.mjs";
import { PATIENCE_MS, decide, expect, openPage, play, step, summary, withBrowser } from "./parts.mjs";

const { default: Provider } = await import("oidc-provider");

const SCOPE = "openid profile email records:read";

// The people of the other provider, by what they type as login.
const people = {
  sue: { email: "sue@corp.example", email_verified: true, name: "Sue Support", groups: ["support"] },
  pat: { email: "pat@corp.example", email_verified: true, name: "Pat Passer-by", groups: ["guest"] },
};

async function main() {
  const provider = await step("provider", startProvider);
  const callback = await listen(process.env.REDIRECT_URI);
  try {
    await withBrowser((browser) => step("page", () => loginPage(callback, browser)));
    await withBrowser((browser) => visit(callback, browser), { javaScriptEnabled: false });
  } finally {
    for (const server of [provider, callback.server]) {
      server.closeAllConnections();
      server.close();
    }
  }
}

async function visit(callback, browser) {
  const config = await clientWithSecret();
  const tokens = await step("login", () => login(config, callback, browser, true));
  await step("claims", () => claims(config, tokens));
  await step("gateway", () => gateway(tokens, 200));
  await step("logout", () => logout(config, browser, tokens));
  await step("dead", () => gateway(tokens, 401));
  // The provider asks again who they are: it was logged out, too.
  const again = await step("again", () => login(config, callback, browser, false));
  await step("gateway_again", () => gateway(again, 200));
  await step("logout_there", () => logoutThere(browser));
  await step("dead_again", () => gateway(again, 401));
  await step("denied", () => denied(config, callback, browser));
}

// === steps ===

async function startProvider() {
  const here = `${process.env.ISSUER}/federation/${process.env.PROVIDER_ID}`;
  const provider = new Provider(process.env.PROVIDER_URL, {
    clients: [
      {
        client_id: "cedargate",
        client_secret: "cedargate-at-the-provider",
        redirect_uris: [`${here}/callback`],
        post_logout_redirect_uris: [`${here}/logged_out`],
        backchannel_logout_uri: `${here}/backchannel_logout`,
        backchannel_logout_session_required: true,
      },
    ],
    claims: { openid: ["sub"], profile: ["name", "preferred_username", "groups"], email: ["email", "email_verified"] },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, ...people[id] }),
    }),
    features: { backchannelLogout: { enabled: true }, rpInitiatedLogout: { enabled: true } },
    pkce: { required: () => true },
    cookies: { keys: ["of the tests"] },
  });
  const { hostname, port } = new URL(process.env.PROVIDER_URL);
  const server = createServer(provider.callback());
  await new Promise((resolve) => server.listen(Number(port), hostname, resolve));
  return server;
}

// Everything has to be reached by the keyboard, too.
async function loginPage(callback, browser) {
  const config = await clientWithSecret();
  const page = await openPage(browser);
  const { url } = await authorizationRequest(config, callback);
  await page.goto(url.href);
  await page.locator("button", { hasText: "Continue with" }).waitFor();
  await look(page, "login-elsewhere");
  await page.locator("#password").focus();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  const focused = page.locator("button:focus");
  const text = await focused.textContent();
  expect(text.startsWith("Continue with"), `two steps from the password is the button, not ${text}`);
  await page.close();
}

async function login(config, callback, browser, isFirst) {
  const { url, checks } = await authorizationRequest(config, callback);
  const page = await openPage(browser);
  const arrived = callback.next();
  await page.goto(url.href);
  await signInThere(page, "sue");
  if (isFirst) {
    await page.waitForSelector('button[name="decision"]');
    const shown = await page.textContent("main");
    expect(shown.includes("signed in as sue"), `the consent page names sue: ${shown}`);
    await decide(page, "approve");
  }
  const tokens = await oidc.authorizationCodeGrant(config, await arrived, checks);
  await page.close();
  return tokens;
}

// From the login page, by the button, through the other provider's own pages.
async function signInThere(page, person) {
  await page.click('button:has-text("Continue with")');
  await page.waitForSelector('input[name="login"]');
  expect(page.url().startsWith(process.env.PROVIDER_URL), "the browser is at the provider");
  await page.fill('input[name="login"]', person);
  await page.fill('input[name="password"]', "any");
  await page.click('button[type="submit"]');
  // The provider asks whether we may know who they are.
  await page.waitForSelector('button[type="submit"]:has-text("Continue")');
  await page.click('button[type="submit"]');
}

async function claims(config, tokens) {
  const { sub } = tokens.claims();
  expect(sub.startsWith(`federated:${process.env.PROVIDER_ID}:`), `the subject is the provider's: ${sub}`);
  const told = await oidc.fetchUserInfo(config, tokens.access_token, sub);
  expect(told.name === people.sue.name && told.email === people.sue.email, "name and email come from there");
  summary.sub = sub;
}

// What the provider says has become what the decision point reads: support staff may, and are told less.
async function gateway(tokens, expected) {
  const deadline = Date.now() + 5_000;
  for (;;) {
    const headers = { authorization: `Bearer ${tokens.access_token}` };
    const answer = await fetch(process.env.RESOURCE_URL, { headers });
    const body = await answer.text();
    if (answer.status === expected) {
      summary.body ??= body;
      return;
    }
    expect(Date.now() < deadline, `the gateway answers ${expected}, not ${answer.status} ${body}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function logout(config, browser, tokens) {
  const page = await openPage(browser);
  const state = oidc.randomState();
  const target = process.env.AFTER_LOGOUT;
  const parameters = { id_token_hint: tokens.id_token, post_logout_redirect_uri: target, state };
  await page.goto(oidc.buildEndSessionUrl(config, parameters).href);
  await page.waitForSelector('button[name="logout"]');
  expect(page.url().startsWith(process.env.PROVIDER_URL), "the browser is at the provider");
  await page.click('button[name="logout"]');
  await page.waitForURL(`${target}?state=${state}`);
  await page.close();
}

// The person signs out at the provider, which tells us behind the browser's back.
async function logoutThere(browser) {
  const page = await openPage(browser);
  await page.goto(`${process.env.PROVIDER_URL}/session/end`);
  await page.click('button[name="logout"]');
  await page.waitForURL("**/session/end/success*");
  await page.close();
}

// Whoever the provider knows and the decision point does not permit gets no token.
async function denied(config, callback, browser) {
  const { url } = await authorizationRequest(config, callback, { scope: "records:read" });
  const page = await openPage(browser);
  const arrived = callback.next();
  await page.goto(url.href);
  await signInThere(page, "pat");
  const error = (await arrived).searchParams.get("error");
  expect(error === "access_denied", `the client hears access_denied, not ${error}`);
  await page.close();
}

// === parts ===

async function authorizationRequest(config, callback, more = {}) {
  const verifier = oidc.randomPKCECodeVerifier();
  const checks = {
    pkceCodeVerifier: verifier,
    expectedState: oidc.randomState(),
    expectedNonce: oidc.randomNonce(),
    idTokenExpected: true,
  };
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: callback.uri,
    scope: SCOPE,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    ...more,
  });
  return { url, checks };
}

// The application's own redirect endpoint.
async function listen(uri) {
  const { hostname, port, pathname } = new URL(uri);
  const callback = { uri };
  callback.server = createServer((request, response) => {
    const url = new URL(request.url, uri);
    response.writeHead(200, { "content-type": "text/plain" });
    response.end("You may close this window.\n");
    if (url.pathname === pathname) callback.arrived?.(url);
  });
  callback.next = () =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("no redirect arrived")), PATIENCE_MS);
      callback.arrived = (url) => {
        clearTimeout(timer);
        resolve(url);
      };
    });
  await new Promise((resolve) => callback.server.listen(Number(port), hostname, resolve));
  return callback;
}

await play(main);
