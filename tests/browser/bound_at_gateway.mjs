// A machine whose token is bound to its key (DPoP), at the gateway, which wants nonces.
//
//   ISSUER         the token service
//   CLIENT_ID, CLIENT_SECRET  a client with client_credentials
//   RESOURCE_URL   a GET that the gateway lets the client through to
//   OTHER_URL      another GET at the same gateway
//   BOUND_URL      a GET that takes bound tokens alone, and answers what the upstream was sent

import { clientWithSecret, holder, oidc, refused } from "./oidc.mjs";
import { expect, failure, play, required, step, summary } from "./parts.mjs";

async function main() {
  const config = await clientWithSecret();
  // What was sent, as a thief in the middle would have it.
  const sent = [];
  let holdsBack = false;
  config[oidc.customFetch] = (url, options) => {
    sent.push({ url, headers: new Headers(options.headers) });
    return holdsBack ? Promise.reject(new Error("held back")) : fetch(url, options);
  };
  const DPoP = await holder(config);
  const tokens = await oidc.clientCredentialsGrant(config, {}, { DPoP });
  const fetchedBy = (token, name, options) =>
    oidc.fetchProtectedResource(
      config, token, new URL(required(name)), "GET", undefined, undefined, options,
    );
  const fetched = (name, options) => fetchedBy(tokens.access_token, name, options);

  await step("proven", async () => {
    const before = sent.length;
    const answer = await fetched("RESOURCE_URL", { DPoP });
    expect(answer.status === 200, `let through, not ${answer.status}`);
    const took = sent.length - before;
    expect(took === 2, `told the nonce and then let through, not ${took} requests`);
  });
  await step("again", async () => {
    const before = sent.length;
    const answer = await fetched("RESOURCE_URL", { DPoP });
    expect(answer.status === 200 && sent.length === before + 1, "the nonce was remembered");
  });
  await step("bound_route", async () => {
    const answer = await fetched("BOUND_URL", { DPoP });
    expect(answer.status === 200, `let through, not ${answer.status}`);
    const upstream = await answer.text();
    expect(upstream.includes("Bearer ey"), "the upstream gets a JWT");
    expect(!upstream.includes(tokens.access_token), "the token goes no further");
    expect(!/dpop/i.test(upstream), "nor does the proof");
  });
  const passed = sent.at(-2);
  await step("replayed", async () => {
    const error = challenge(await fetch(passed.url, { headers: passed.headers }));
    expect(error === "invalid_dpop_proof", error);
  });
  // One that was made, and never arrived.
  holdsBack = true;
  await failure(fetched("RESOURCE_URL", { DPoP }));
  const fresh = sent.at(-1);
  holdsBack = false;
  await step("elsewhere", async () => {
    const error = challenge(await fetch(required("OTHER_URL"), { headers: fresh.headers }));
    expect(error === "invalid_dpop_proof", error);
  });
  await step("other_method", async () => {
    const error = challenge(await fetch(fresh.url, { method: "HEAD", headers: fresh.headers }));
    expect(error === "invalid_dpop_proof", error);
  });
  await step("as_bearer", async () => {
    const headers = { authorization: `Bearer ${tokens.access_token}` };
    const error = challenge(await fetch(fresh.url, { headers }));
    expect(error === "invalid_token", error);
  });
  await step("unproven", () => refused(fetched("RESOURCE_URL", {})));
  await step("other_key", async () => refused(fetched("RESOURCE_URL", { DPoP: await holder(config) })));
  await step("arrived_late", async () => {
    const answer = await fetch(fresh.url, { headers: fresh.headers });
    expect(answer.status === 200, `none of that used the proof up: ${answer.status}`);
  });
  await step("by_every_algorithm", async () => {
    for (const algorithm of ["ES256", "ES384", "RS256", "PS256"]) {
      const DPoP = await holder(config, algorithm);
      const tokens = await oidc.clientCredentialsGrant(config, {}, { DPoP });
      const answer = await fetchedBy(tokens.access_token, "RESOURCE_URL", { DPoP });
      expect(answer.status === 200, `${algorithm}: ${answer.status}`);
    }
  });
  summary.requests = sent.length;
}

// The error that a refusal names, by the scheme DPoP.
function challenge(answer) {
  const text = answer.headers.get("www-authenticate") ?? "";
  expect(answer.status === 401 && text.startsWith("DPoP "), `${answer.status} ${text}`);
  return /error="([^"]*)"/.exec(text)?.[1];
}

await play(main);
