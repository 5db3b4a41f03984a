// One person at a single-page application with oidc-client-ts, in a real browser.
//
//   SITE       where the page is served, of which `/callback`, `/silent` and `/signed-out` are registered
//              for the public client `spa`
//   ISSUER     the token service, of another origin, which wants nonces in DPoP proofs
//   USERNAME, PASSWORD
//
// Everything but the two redirects is done by script, through CORS: metadata, keys, token, userinfo and
// revocation. The library checks state, nonce, subject and lifetimes; the page itself verifies the ID
// token's signature.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

import {
  decide, expect, fillLogin, openPage, play, required, step, summary, withBrowser,
} from "./parts.mjs";

const site = required("SITE");
const issuer = required("ISSUER");

async function main() {
  const server = await serve();
  try {
    await withBrowser(async (browser) => {
      const page = await openPage(browser);
      await step("login", () => logsIn(page));
      await step("signature", () => verifiesIdToken(page));
      await step("renewal", () => renewsByRefreshToken(page));
      await step("frame", () => renewsInFrame(page));
      await step("bound", () => bindsToItsKey(page));
      await step("not_framed", () => showsNoLoginInFrame(page));
      await step("cors", () => isClosedToOtherScripts(page));
      await step("forged", () => refusesForged(page));
      await step("revoke", () => revokes(page));
      await step("logout", () => logsOut(page));
      await step("frame_refused", () => renewsNoMore(page));
    });
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

async function logsIn(page) {
  await page.goto(`${site}/?authority=${encodeURIComponent(issuer)}`);
  page.evaluate(() => manager.signinRedirect()).catch(() => {});
  await page.waitForSelector('input[name="password"]');
  await fillLogin(page, required("USERNAME"), required("PASSWORD"));
  await decide(page, "approve");
  await page.waitForURL(`${site}/callback?*`);
  const user = await page.evaluate(async () => {
    const { profile, access_token, refresh_token, scope, expires_in } = await manager.signinCallback();
    return { profile, access_token, refresh_token, scope, expires_in };
  });
  expect(user.profile.iss === issuer && user.profile.aud === "spa", "the ID token is for the page");
  expect(user.profile.email, "userinfo is read from another origin");
  expect(!user.access_token.includes(".") && user.refresh_token, "opaque, with a refresh token");
  expect(user.expires_in > 0 && user.scope.includes("records:read"), "lifetime and scope are told");
  summary.sub = user.profile.sub;
}

// With the published keys, by the browser's own cryptography.
async function verifiesIdToken(page) {
  const holds = await page.evaluate(async () => {
    const user = await manager.getUser();
    const keys = await manager.metadataService.getSigningKeys();
    const bytes = (text) =>
      Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const [head, body, signature] = user.id_token.split(".");
    const { alg, kid } = JSON.parse(new TextDecoder().decode(bytes(head)));
    const jwk = keys.find((key) => key.kid === kid && key.alg === alg);
    const kind = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
    const key = await crypto.subtle.importKey("jwk", jwk, kind, false, ["verify"]);
    const signed = new TextEncoder().encode(`${head}.${body}`);
    return crypto.subtle.verify(kind, key, bytes(signature), signed);
  });
  expect(holds, "the ID token's signature holds");
}

async function renewsByRefreshToken(page) {
  const [before, after] = await page.evaluate(async () => {
    const before = await manager.getUser();
    return [before, await manager.signinSilent()];
  });
  expect(after.access_token !== before.access_token, "there is another access token");
  expect(after.refresh_token !== before.refresh_token, "the refresh token is rotated");
  expect(after.profile.sub === before.profile.sub, "for the same person");
}

// Without a refresh token: `prompt=none` in a hidden frame, with the cookie of the login.
async function renewsInFrame(page) {
  const sub = await page.evaluate(async () => {
    const store = new oidc.WebStorageStateStore({ store: new oidc.InMemoryWebStorage() });
    const user = await managerWith({ userStore: store }).signinSilent();
    return user.profile.sub;
  });
  expect(sub === summary.sub, `the frame is told who is logged in, not ${sub}`);
}

// Every token of this manager is bound to a key of the browser's (RFC 9449), and so is the code. The
// service wants proofs to repeat a nonce, which the library learns by itself at the token endpoint.
async function bindsToItsKey(page) {
  await page.goto(`${site}/`);
  page.evaluate(() => boundManager().signinRedirect()).catch(() => {});
  await page.waitForURL(`${site}/callback?*`);
  const told = await page.evaluate(async () => {
    const manager = boundManager();
    const user = await manager.signinRedirectCallback();
    const { userinfo_endpoint } = await manager.metadataService.getMetadata();
    const ask = (headers) => fetch(userinfo_endpoint, { headers });
    const prove = async (nonce) => {
      const dpop = await manager.dpopProof(userinfo_endpoint, user, "GET", nonce);
      return ask({ authorization: `DPoP ${user.access_token}`, dpop });
    };
    const plain = await ask({ authorization: `Bearer ${user.access_token}` });
    const first = await prove();
    // A script has to be let see what it is to repeat.
    const second = await prove(first.headers.get("dpop-nonce"));
    const renewed = await manager.signinSilent();
    return {
      types: `${user.token_type} ${renewed.token_type}`,
      statuses: [plain, first, second].map((answer) => answer.status).join(" "),
    };
  });
  expect(told.types === "DPoP DPoP", `the tokens are bound, not ${told.types}`);
  expect(told.statuses === "401 401 200", `proofs with a nonce alone are good, not ${told.statuses}`);
}

// What a person clicks on is never shown inside another page.
async function showsNoLoginInFrame(page) {
  const shown = await page.evaluate(async () => {
    const request = await manager._client.createSigninRequest({ prompt: "login" });
    const frame = document.createElement("iframe");
    frame.src = request.url;
    document.body.append(frame);
    await new Promise((resolve) => (frame.onload = resolve));
    return request.url;
  });
  const frames = page.frames().filter((frame) => frame !== page.mainFrame());
  expect(frames.length === 1, `one frame, not ${frames.length}`);
  expect(frames[0].url().startsWith("chrome-error:"), `the frame is blocked, not at ${frames[0].url()}`);
  expect(shown.startsWith(issuer), "the frame was to show the token service");
  await page.evaluate(() => document.querySelector("iframe").remove());
}

// Endpoints that are not for pages cannot be read by them.
async function isClosedToOtherScripts(page) {
  for (const path of ["/introspect", "/authorize", "/login", "/logout"]) {
    const error = await page.evaluate(
      (url) => fetch(url, { method: "POST" }).then(() => "", (error) => error.name),
      issuer + path,
    );
    expect(error === "TypeError", `${path} is closed to scripts of other origins`);
  }
}

async function refusesForged(page) {
  const url = `${site}/callback?code=anything&state=anything&iss=${encodeURIComponent(issuer)}`;
  const error = await page.evaluate(
    (url) => manager.signinRedirectCallback(url).then(() => "", (error) => error.message),
    url,
  );
  expect(error.includes("state"), `the library refuses an answer of another's, with ${error}`);
}

async function revokes(page) {
  const status = await page.evaluate(async () => {
    const user = await manager.getUser();
    await manager.revokeTokens(["access_token", "refresh_token"]);
    const { userinfo_endpoint } = await manager.metadataService.getMetadata();
    const headers = { authorization: `Bearer ${user.access_token}` };
    const answer = await fetch(userinfo_endpoint, { headers });
    return [answer.status, answer.headers.get("www-authenticate")];
  });
  expect(status[0] === 401, `a revoked token is 401, not ${status[0]}`);
  expect(status[1].includes("invalid_token"), `the script reads why: ${status[1]}`);
}

async function logsOut(page) {
  page.evaluate(() => manager.signoutRedirect({ state: "bye" })).catch(() => {});
  await page.waitForURL(`${site}/signed-out?*`);
  const state = await page.evaluate(async () => (await manager.signoutRedirectCallback()).userState);
  expect(state === "bye", `the library finds its state in the answer, not ${state}`);
}

async function renewsNoMore(page) {
  const error = await page.evaluate(() =>
    managerWith({}).signinSilent().then(() => "", (error) => error.error ?? error.message),
  );
  expect(error === "login_required", `the page hears login_required, not ${error}`);
}

// The page, and the library beside it.
async function serve() {
  const page = await readFile(new URL("spa.html", import.meta.url));
  const library = await readFile(
    new URL("node_modules/oidc-client-ts/dist/browser/oidc-client-ts.min.js", import.meta.url),
  );
  const server = createServer((request, response) => {
    const isLibrary = request.url === "/oidc-client-ts.js";
    response.writeHead(200, { "content-type": isLibrary ? "text/javascript" : "text/html" });
    response.end(isLibrary ? library : page);
  });
  const { hostname, port } = new URL(site);
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(Number(port), hostname, resolve);
  });
  return server;
}

await play(main);
