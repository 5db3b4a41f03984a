// A person signs in at the gateway itself: Chromium in front of it, an OpenID provider beside it, which is the
// token service or, with PROVIDER_URL, oidc-provider from npm.
//
// Sign-in and back to the page that was asked for, cookies, scripts, other sites' pages, tabs, tokens that end
// meanwhile, sign-out here and at the provider.
//
//   GATEWAY        the origin of the gateway
//   LOGIN          the login's name
//   PAGE           a path that answers what the upstream was sent, as GET and as POST
//   ISSUER         the provider
//   USERNAME, PASSWORD   at the token service
//   PROVIDER_URL   optional: where the other provider listens
//   TOKEN_SECS     optional: access tokens end after so many seconds
//   CHROMIUM       path of the browser

import { createServer } from "node:http";

import {
  eventually, expect, fillLogin, openPage, play, required, step, summary, withBrowser,
} from "./parts.mjs";

const gateway = required("GATEWAY");
const login = required("LOGIN");
const page_url = `${gateway}${required("PAGE")}`;
const own = `${gateway}/.cedargate/${login}`;
const isHttps = gateway.startsWith("https:");
const isForeign = Boolean(process.env.PROVIDER_URL);

async function main() {
  const provider = isForeign ? await startProvider() : undefined;
  const elsewhere = await listen();
  try {
    await withBrowser((browser) => visit(browser, elsewhere), { ignoreHTTPSErrors: true });
  } finally {
    for (const server of [provider, elsewhere.server]) {
      server?.closeAllConnections();
      server?.close();
    }
  }
}

async function visit(browser, elsewhere) {
  const page = await openPage(browser);
  await step("login", async () => {
    await page.goto(`${page_url}?a=b&c=%20d`);
    await signIn(page);
    await page.waitForURL(`${page_url}?a=b&c=%20d`);
    const seen = await page.textContent("body");
    summary.seen = seen;
    // Of others' tokens, an upstream gets none.
    expect(seen.includes("authorization") !== isForeign, `what the upstream was sent: ${seen}`);
  });
  await step("cookies", async () => {
    const cookies = (await browser.cookies(gateway)).filter(({ name }) => name.includes(`cedargate-${login}`));
    expect(cookies.length === 1, `one is left: ${cookies.map(({ name }) => name)}`);
    const [{ name, httpOnly, sameSite, path, expires, value, secure }] = cookies;
    expect(secure === isHttps && name.startsWith("__Host-") === isHttps, `by https alone: ${name}`);
    expect(httpOnly && sameSite === "Lax" && path === "/" && expires === -1, JSON.stringify(cookies[0], ["name"]));
    expect(!(await page.evaluate(() => document.cookie)).includes("cedargate-"), "no script sees it");
    expect(!summary.seen.includes(value), "no upstream sees it");
    summary.session = value;
  });
  await step("scripts", async () => {
    const status = (method) => page.evaluate(async (method) => (await fetch(location.pathname, { method })).status, method);
    expect((await status("GET")) === 200, "a script of the page reads");
    expect((await status("POST")) === 200, "and writes");
  });
  await step("other_sites", () => otherSites(browser, elsewhere));
  if (process.env.TOKEN_SECS) {
    await step("renewal", async () => {
      const end = Date.now() + 1000 * (2 * Number(process.env.TOKEN_SECS) + 1);
      while (Date.now() < end) {
        const answer = await page.goto(page_url);
        expect(answer.status() === 200 && page.url() === page_url, `${answer.status()} at ${page.url()}`);
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    });
  }
  await step("logout", () => signOut(page));
  await step("tabs", () => tabs(browser));
  if (!isHttps) await step("logout_there", async () => {
    await page.goto(page_url);
    expect(page.url() === page_url, "signed in, by the tabs");
    await signOutThere(page);
    const status = () => page.request.get(page_url, { maxRedirects: 0 }).then((answer) => answer.status());
    await eventually("the session is over here, too", async () => (await status()) === 401);
  });
  await step("denied", () => denied(page));
}

// === steps ===

async function signIn(page) {
  if (isForeign) {
    await page.waitForSelector('input[name="login"]');
    await page.fill('input[name="login"]', "sue");
    await page.fill('input[name="password"]', "any");
    await page.click('button[type="submit"]');
    // Whether we may know who they are, it asks once.
    const asked = page.locator('button[type="submit"]:has-text("Continue")');
    await Promise.race([asked.waitFor(), page.waitForURL(`${page_url}**`)]);
    if (!page.url().startsWith(gateway)) await asked.click();
  } else {
    await page.waitForSelector('input[name="username"]');
    expect(page.url().startsWith(required("ISSUER")), `the login page is the provider's, not ${page.url()}`);
    await fillLogin(page, required("USERNAME"), required("PASSWORD"));
  }
}

// A form of another origin on the same host, to which the browser gives the cookie, and of another host.
async function otherSites(browser, elsewhere) {
  for (const origin of elsewhere.origins) {
    const page = await openPage(browser);
    await page.goto(`${origin}/?to=${encodeURIComponent(page_url)}`);
    const [answer] = await Promise.all([page.waitForResponse(page_url), page.click("button")]);
    const cookie = (await answer.request().allHeaders()).cookie ?? "";
    const hasCookie = cookie.includes(`cedargate-${login}=`);
    const expected = hasCookie ? 403 : 401;
    expect(answer.status() === expected, `${origin}: ${expected}, not ${answer.status()}`);
    summary[`cookie_sent_by_${elsewhere.origins.indexOf(origin)}`] = hasCookie;
    // A link is a link.
    await page.goto(`${origin}/?to=${encodeURIComponent(page_url)}`);
    await Promise.all([page.waitForURL(page_url), page.click("a")]);
    await page.close();
  }
}

async function signOut(page) {
  await page.goto(`${own}/logout`);
  await page.click("button");
  if (isForeign) {
    await page.waitForSelector('button[name="logout"]');
    await page.click('button[name="logout"]');
  }
  await page.waitForURL(`${own}/logged-out`);
  expect((await page.textContent("h1")) === "You are signed out", "it says so");
  const answer = await page.request.get(page_url, { maxRedirects: 0 });
  expect(answer.status() === 401, `no session: 401, not ${answer.status()}`);
  // And there, too: it would have to be asked who they are.
  await page.goto(page_url);
  await page.waitForSelector(isForeign ? 'input[name="login"]' : 'input[name="username"]');
}

// Two logins at once in one browser.
async function tabs(browser) {
  const [one, two] = [await openPage(browser), await openPage(browser)];
  await one.goto(`${page_url}?tab=1`);
  await two.goto(`${page_url}?tab=2`);
  await signIn(two);
  await two.waitForURL(`${page_url}?tab=2`);
  await signIn(one);
  await one.waitForURL(`${page_url}?tab=1`);
  await one.close();
  await two.close();
}

// The person signs out at the provider, which tells the gateway behind the browser's back.
async function signOutThere(page) {
  if (isForeign) {
    await page.goto(`${process.env.PROVIDER_URL}/session/end`);
    await page.click('button[name="logout"]');
    await page.waitForURL("**/session/end/success*");
  } else {
    await page.goto(`${required("ISSUER")}/logout`);
    await Promise.all([page.waitForEvent("framenavigated"), page.click("button")]);
  }
}

// Who comes back with what is nobody's sees a page that says nothing of it.
async function denied(page) {
  const evil = encodeURIComponent("<script>document.title='evil'</script>");
  const answer = await page.goto(`${own}/callback?state=${evil}&error=${evil}`);
  expect(answer.status() === 400, `400, not ${answer.status()}`);
  expect((await page.title()) === "You are not signed in", await page.title());
}

// === parts ===

async function startProvider() {
  const { default: Provider } = await import("oidc-provider");
  const provider = new Provider(process.env.PROVIDER_URL, {
    clients: [
      {
        client_id: "gateway-login",
        client_secret: "demo-secret-of-gateway-login",
        grant_types: ["authorization_code", "refresh_token"],
        redirect_uris: [`${own}/callback`],
        post_logout_redirect_uris: [`${own}/logged-out`],
        backchannel_logout_uri: `${own}/backchannel-logout`,
        backchannel_logout_session_required: true,
      },
      {
        client_id: "gateway",
        client_secret: "secret-of-gateway",
        grant_types: ["client_credentials"],
        response_types: [],
        redirect_uris: [],
      },
    ],
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    features: {
      backchannelLogout: { enabled: true },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      rpInitiatedLogout: { enabled: true },
    },
    issueRefreshToken: () => true,
    ttl: { AccessToken: Number(process.env.TOKEN_SECS ?? 600) },
    pkce: { required: () => true },
    cookies: { keys: ["of the tests"] },
  });
  const { hostname, port } = new URL(process.env.PROVIDER_URL);
  const server = createServer(provider.callback());
  await new Promise((resolve) => server.listen(Number(port), hostname, resolve));
  return server;
}

// Pages of others: on the gateway's own host by another port, and by another name.
async function listen() {
  const server = createServer((request, response) => {
    const to = new URL(request.url, "http://x").searchParams.get("to");
    response.writeHead(200, { "content-type": "text/html" });
    response.end(`<a href="${to}">go</a><form method="post" action="${to}"><button>win</button></form>`);
  });
  await new Promise((resolve) => server.listen(0, "0.0.0.0", resolve));
  const { port } = server.address();
  const { hostname } = new URL(gateway);
  return { server, origins: [`http://${hostname}:${port}`, `http://localhost:${port}`] };
}

await play(main);
