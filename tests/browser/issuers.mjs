// An issuer that others wrote, oidc-provider from npm, whose tokens a gateway takes: JWTs by its keys, opaque
// ones by introspection. It is started here, and changes its keys, and goes away.
//
//   ISSUER         where it listens
//   AUDIENCE       the resource that tokens are for
//   JWT_URL        a GET at the gateway that takes its JWTs alone, and answers what the upstream was sent
//   ASKED_HOST     the host of the same path that takes what it says itself is active
//   OWN_HOST       the host that takes JWTs of another issuer
//   OWN_TOKEN      one of those

import { generateKeyPairSync } from "node:crypto";
import { createServer, request } from "node:http";

import { oidc } from "./oidc.mjs";
import { expect, play, required, step } from "./parts.mjs";

const { default: Provider } = await import("oidc-provider");

const issuer = required("ISSUER");
const audience = required("AUDIENCE");

async function main() {
  let server = await step("provider", () => start("first"));
  try {
    const jwt = await tokenOf("robot-jwt");
    const opaque = await tokenOf("robot-opaque");
    await step("jwt", async () => {
      expect(jwt.split(".").length === 3, "a JWT");
      // The gateway was there before it.
      await eventually(async () => (await get(jwt)).status !== 503);
      const answer = await get(jwt);
      expect(answer.status === 200, `let through, not ${answer.status} ${answer.body}`);
      expect(!answer.body.includes(jwt), "the token goes no further");
    });
    await step("opaque", async () => {
      expect(!opaque.includes("."), "no JWT");
      const answer = await get(opaque, required("ASKED_HOST"));
      expect(answer.status === 200, `let through, not ${answer.status} ${answer.body}`);
    });
    await step("nowhere_else", async () => {
      for (const [token, host] of [
        [opaque, undefined],
        [jwt, required("OWN_HOST")],
        [opaque, required("OWN_HOST")],
        [required("OWN_TOKEN"), undefined],
        [required("OWN_TOKEN"), required("ASKED_HOST")],
        [await tokenOf("robot-jwt", "https://elsewhere.example"), undefined],
        [await tokenOf("robot-opaque", "https://elsewhere.example"), required("ASKED_HOST")],
        [`${jwt.slice(0, -8)}AAAAAAAA`, undefined],
      ]) {
        const answer = await get(token, host);
        expect(answer.status === 401, `refused at ${host}, not ${answer.status}`);
      }
    });
    await step("own", async () => {
      const answer = await get(required("OWN_TOKEN"), required("OWN_HOST"));
      expect(answer.status === 200, `let through, not ${answer.status} ${answer.body}`);
    });
    await step("bound", () => bound());
    await step("revoked", async () => {
      await post("/token/revocation", "robot-opaque", { token: opaque });
      await eventually(async () => (await get(opaque, required("ASKED_HOST"))).status === 401);
    });
    await step("new_key", async () => {
      await stop(server);
      server = await start("second");
      const renewed = await tokenOf("robot-jwt");
      await eventually(async () => (await get(renewed)).status === 200);
      expect((await get(jwt)).status === 401, "the old key is gone, and what it has signed");
    });
    const known = await tokenOf("robot-jwt");
    expect((await get(known)).status === 200, "known");
    const unknown = await tokenOf("robot-opaque");
    await stop(server);
    server = undefined;
    await step("away", async () => {
      expect((await get(known)).status === 200, "its keys are good for a while");
      const asked = await get(unknown, required("ASKED_HOST"));
      expect(asked.status === 503, `nobody knows, not ${asked.status}`);
      expect(asked.body.includes("issuer-unavailable"), asked.body);
    });
  } finally {
    if (server) await stop(server);
  }
}

async function start(kid) {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = { ...privateKey.export({ format: "jwk" }), kid, alg: "ES256", use: "sig" };
  const robot = (client_id) => ({
    client_id,
    client_secret: secretOf(client_id),
    grant_types: ["client_credentials"],
    response_types: [],
    redirect_uris: [],
    id_token_signed_response_alg: "ES256",
  });
  const provider = new Provider(issuer, {
    clients: [robot("robot-jwt"), robot("robot-opaque"), robot("gateway")],
    jwks: { keys: [key] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      dPoP: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, indicator, client) => ({
          scope: "records:read",
          audience: indicator,
          accessTokenFormat: client.clientId === "robot-jwt" ? "jwt" : "opaque",
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
    cookies: { keys: ["of the tests"] },
  });
  const { hostname, port } = new URL(issuer);
  const server = createServer(provider.callback());
  await new Promise((resolve) => server.listen(Number(port), hostname, resolve));
  return server;
}

function stop(server) {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(resolve));
}

function secretOf(client) {
  return `secret-of-${client}`;
}

async function post(path, client, form) {
  const credential = Buffer.from(`${client}:${secretOf(client)}`).toString("base64");
  const headers = {
    authorization: `Basic ${credential}`,
    "content-type": "application/x-www-form-urlencoded",
  };
  const answer = await send(`${issuer}${path}`, { method: "POST", headers }, `${new URLSearchParams(form)}`);
  expect(answer.status === 200, `${path}: ${answer.status} ${answer.body}`);
  return answer.body && JSON.parse(answer.body);
}

async function tokenOf(client, resource = audience) {
  const form = { grant_type: "client_credentials", resource, scope: "records:read" };
  const { access_token } = await post("/token", client, form);
  return access_token;
}

// By a name of its own, where it has one.
function get(token, host) {
  const headers = { authorization: `Bearer ${token}`, ...(host && { host }) };
  return send(required("JWT_URL"), { headers });
}

// `fetch` cannot say by which name, and holds on to connections that the provider closes.
function send(url, options, form = "") {
  return new Promise((resolve, reject) => {
    const sent = request(url, { ...options, agent: false }, (answer) => {
      let body = "";
      answer.on("data", (piece) => (body += piece));
      answer.on("end", () => resolve({ status: answer.statusCode, body }));
    });
    sent.on("error", reject);
    sent.end(form);
  });
}

// A token that is bound to a key counts with a proof of it.
async function bound() {
  const authentication = oidc.ClientSecretBasic(secretOf("robot-jwt"));
  const options = { execute: [oidc.allowInsecureRequests] };
  const config = await oidc.discovery(new URL(issuer), "robot-jwt", undefined, authentication, options);
  const DPoP = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair("ES256"));
  const parameters = { resource: audience, scope: "records:read" };
  const { access_token } = await oidc.clientCredentialsGrant(config, parameters, { DPoP });
  const url = new URL(required("JWT_URL"));
  const answer = await oidc.fetchProtectedResource(
    config, access_token, url, "GET", undefined, undefined, { DPoP },
  );
  expect(answer.status === 200, `let through, not ${answer.status}`);
  expect((await get(access_token)).status === 401, "alone it is worth nothing");
}

async function eventually(holds) {
  const deadline = Date.now() + 10_000;
  while (!(await holds())) {
    expect(Date.now() < deadline, "in time");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

await play(main);
