// Pages of two origins that call a gateway of a third one with a token; of one of them the gateway has been told.
//
//   GATEWAY    of which alice's record is `/records/1001`
//   SITE       where pages are served that may call
//   OTHER      where pages are served that may not
//   TOKEN      alice's access token

import { createServer } from "node:http";

import { expect, openPage, play, required, step, withBrowser } from "./parts.mjs";

const gateway = required("GATEWAY");
const token = required("TOKEN");
const servers = [];

async function main() {
  for (const site of [required("SITE"), required("OTHER")]) await serve(site);
  try {
    await withBrowser(async (browser) => {
      const page = await openPage(browser);
      await page.goto(required("SITE"));
      await step("read", () => reads(page));
      await step("written", () => writes(page));
      await step("refusals", () => seesRefusals(page));
      await step("unlisted_header", () => sendsNoOtherHeader(page));
      await page.goto(required("OTHER"));
      await step("other_origin", () => isNotLetIn(page));
    });
  } finally {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  }
}

async function serve(site) {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/html" });
    response.end("<!doctype html><title>A page</title>");
  });
  const { hostname, port } = new URL(site);
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(Number(port), hostname, resolve);
  });
  servers.push(server);
}

// What a page's script makes of an answer.
function call(page, path, { bearer = token, ...options } = {}) {
  const headers = { ...options.headers };
  if (bearer) headers.authorization = `Bearer ${bearer}`;
  return page.evaluate(
    async ([url, options]) => {
      try {
        const answer = await fetch(url, options);
        const challenge = answer.headers.get("www-authenticate");
        return { status: answer.status, body: await answer.text(), challenge };
      } catch (error) {
        return { failed: error.name };
      }
    },
    [gateway + path, { ...options, headers }],
  );
}

async function reads(page) {
  const answer = await call(page, "/records/1001");
  expect(answer.status === 200, `her own record, not ${JSON.stringify(answer)}`);
  expect(JSON.parse(answer.body).id === "1001", answer.body);
}

// Another method and a header field that is listed are asked about first.
async function writes(page) {
  const headers = { "content-type": "application/json", "idempotency-key": "1" };
  const answer = await call(page, "/records/1001", { method: "PUT", body: "{}", headers });
  expect(answer.status < 500 && !answer.failed, `an answer, not ${JSON.stringify(answer)}`);
}

async function seesRefusals(page) {
  const denied = await call(page, "/records/1002");
  expect(denied.status === 403, `bob's is not hers: ${JSON.stringify(denied)}`);
  expect(JSON.parse(denied.body).status === 403, denied.body);
  const unknown = await call(page, "/records/1001", { bearer: "at_nobody" });
  expect(unknown.status === 401, JSON.stringify(unknown));
  expect(unknown.challenge.includes("invalid_token"), unknown.challenge);
  const nothing = await call(page, "/records/1001", { bearer: "" });
  expect(nothing.status === 401 && nothing.challenge, JSON.stringify(nothing));
  const nowhere = await call(page, "/nowhere");
  expect(nowhere.failed === "TypeError", `no route, so nobody asks there: ${JSON.stringify(nowhere)}`);
}

async function sendsNoOtherHeader(page) {
  const answer = await call(page, "/records/1001", { headers: { "x-unlisted": "1" } });
  expect(answer.failed === "TypeError", JSON.stringify(answer));
}

async function isNotLetIn(page) {
  for (const bearer of [token, ""]) {
    const answer = await call(page, "/records/1001", { bearer });
    expect(answer.failed === "TypeError", `closed to others: ${JSON.stringify(answer)}`);
  }
}

await play(main);
