// A machine whose token is bound to its key (DPoP), at a resource server that looks at proofs by itself.
//
//   ISSUER         the token service
//   CLIENT_ID, CLIENT_SECRET  a client with client_credentials
//   RESOURCE_URL   a GET at the resource server

import { webcrypto } from "node:crypto";

import { expect, failure, play, required, step } from "./parts.mjs";

// Node.js 18 keeps these out of the global scope; the client library expects them there.
globalThis.crypto ??= webcrypto;
globalThis.CryptoKey ??= webcrypto.CryptoKey;

const oidc = await import("openid-client");

async function main() {
  const config = await oidc.discovery(
    new URL(required("ISSUER")),
    required("CLIENT_ID"),
    undefined,
    oidc.ClientSecretBasic(required("CLIENT_SECRET")),
    { execute: [oidc.allowInsecureRequests] },
  );
  const handle = async () => oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair("ES256"));
  const DPoP = await handle();
  const tokens = await oidc.clientCredentialsGrant(config, {}, { DPoP });
  const fetched = (options) =>
    oidc.fetchProtectedResource(
      config, tokens.access_token, new URL(required("RESOURCE_URL")), "GET", undefined, undefined, options,
    );
  await step("proven", async () => {
    const answer = await fetched({ DPoP });
    expect(answer.status === 200, `let through, not ${answer.status}`);
  });
  await step("unproven", () => refused(fetched({})));
  await step("other_key", async () => refused(fetched({ DPoP: await handle() })));
}

async function refused(answer) {
  const error = await failure(answer);
  expect(error.status === 401, `refused, not ${error.status}`);
}

await play(main);
