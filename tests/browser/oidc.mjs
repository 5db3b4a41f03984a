// The client library, and clients of ours that use it.

import { webcrypto } from "node:crypto";

import { expect, failure, required } from "./parts.mjs";

// Node.js 18 keeps these out of the global scope; the library expects them there, as others of its
// author's do: whoever imports one of those imports this first.
globalThis.crypto ??= webcrypto;
globalThis.CryptoKey ??= webcrypto.CryptoKey;

export const oidc = await import("openid-client");

// A client with a secret, of an issuer that is on loopback, without TLS.
export function clientWithSecret() {
  return oidc.discovery(
    new URL(required("ISSUER")),
    required("CLIENT_ID"),
    undefined,
    oidc.ClientSecretBasic(required("CLIENT_SECRET")),
    { execute: [oidc.allowInsecureRequests] },
  );
}

// Somebody new, with a key of one's own.
export async function holder(config, algorithm = "ES256") {
  return oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair(algorithm));
}

export async function refused(answer) {
  const error = await failure(answer);
  expect(error.status === 401, `refused, not ${error.status}`);
}
