// One person at a web site that Apache guards with mod_auth_openidc, in a real browser.
//
//   SITE       http://127.0.0.1:9710, with `/private/` for whoever is logged in and `/signed-out` for all
//   ISSUER     the token service
//   USERNAME, PASSWORD
//
// Apache's module has verified what is seen here: the ID token (signature, nonce, hash), the answer's
// `iss`, and the logout token that comes from behind.

import { decide, eventually, expect, fillLogin, openPage, play, required, step, summary, withBrowser } from "./parts.mjs";

const site = required("SITE");
const issuer = required("ISSUER");
const username = required("USERNAME");
const password = required("PASSWORD");
const inside = `${site}/private/page`;
const callback = `${site}/private/callback`;

async function main() {
  await withBrowser(async (browser) => {
    const page = await openPage(browser);
    await step("denied", () => denies(browser, page));
    await step("login", () => logsIn(page));
    const told = await step("claims", () => isTold(browser));
    const token = await step("refresh", () => refreshes(browser, page, told));
    await step("forged", () => refusesForged(browser));
    await step("logout", () => logsOut(page, token));
    await step("login_again", () => logsInAgain(page));
    await step("backchannel", () => hearsOfLogout(browser));
  });
}

// The person says no, and the site lets nobody in. (This version of the module takes an error that comes
// with `iss`, as RFC 9207 wants it, for the start of a login elsewhere, and shows a page of its own.)
async function denies(browser, page) {
  await page.goto(inside);
  expect(page.url().startsWith(issuer), "who is not logged in is at the token service");
  await fillLogin(page, username, password);
  await decide(page, "deny");
  await page.waitForURL(`${callback}?*`);
  const error = new URL(page.url()).searchParams.get("error");
  expect(error === "access_denied", `the site is told access_denied, not ${error}`);
  expect((await entered(browser)) === 302, "nobody is let in");
}

// The status of the page inside.
async function entered(browser) {
  const answer = await browser.request.get(inside, { maxRedirects: 0 });
  return answer.status();
}

// Logged in from before: only approval is asked for.
async function logsIn(page) {
  await page.goto(inside);
  const answered = page.waitForResponse(inside);
  await decide(page, "approve");
  const answer = await answered;
  expect(answer.status() === 200, `the page is shown, not ${answer.status()}`);
  summary.sub = answer.headers()["x-sub"];
}

// What the module keeps of the login.
async function info(browser) {
  const answer = await browser.request.get(`${callback}?info=json`);
  expect(answer.ok(), `the module tells about the login, not ${answer.status()}`);
  return answer.json();
}

async function isTold(browser) {
  const told = await info(browser);
  expect(told.id_token.iss === issuer, "the ID token is of the issuer");
  expect(told.id_token.sub === summary.sub, "the ID token is of the person");
  expect(told.id_token.at_hash && told.id_token.nonce, "the ID token has a hash and a nonce");
  expect(told.userinfo.sub === summary.sub, "userinfo is of the same person");
  expect(told.refresh_token, "there is a refresh token");
  summary.email = told.userinfo.email;
  return told;
}

async function refreshes(browser, page, told) {
  const query = new URLSearchParams({ refresh: inside, access_token: told.access_token });
  await page.goto(`${callback}?${query}`);
  expect(page.url() === inside, `back on the page, not at ${page.url()}`);
  const now = await info(browser);
  expect(now.access_token !== told.access_token, "there is another access token");
  expect(now.refresh_token !== told.refresh_token, "the refresh token is rotated");
  return now.access_token;
}

// An answer to a question that this browser did not ask.
async function refusesForged(browser) {
  const query = new URLSearchParams({ code: "anything", state: "anything", iss: issuer });
  const answer = await browser.request.get(`${callback}?${query}`, { maxRedirects: 0 });
  expect(answer.status() === 400, `refused, not ${answer.status()}`);
}

// From the site to the token service and back; then neither knows the person, nor the site's token.
async function logsOut(page, token) {
  const query = new URLSearchParams({ logout: `${site}/signed-out` });
  await page.goto(`${callback}?${query}`);
  expect(page.url().split("?")[0] === `${site}/signed-out`, `signed out, not at ${page.url()}`);
  await page.goto(inside);
  expect(page.url().startsWith(issuer), `the site asks the token service, not at ${page.url()}`);
  await page.waitForSelector('input[name="password"]');
  const answer = await fetch(`${issuer}/userinfo`, { headers: { authorization: `Bearer ${token}` } });
  expect(answer.status === 401, `the token is revoked, not ${answer.status}`);
}

async function logsInAgain(page) {
  const answered = page.waitForResponse(inside);
  await fillLogin(page, username, password);
  expect((await answered).status() === 200, "logged in again, and not asked for approval again");
}

// Logs out at the token service itself: the site is told by a signed token, without the browser.
async function hearsOfLogout(browser) {
  expect((await entered(browser)) === 200, "logged in at the site");
  const page = await openPage(browser);
  await page.goto(`${issuer}/logout`);
  await page.click('button[type="submit"]');
  await eventually("the site knows that nobody is logged in any more", async () => (await entered(browser)) === 302);
}

await play(main);
