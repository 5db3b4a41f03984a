// A machine whose token is bound to its key (DPoP), at a resource server that looks at proofs by itself.
//
//   ISSUER         the token service
//   CLIENT_ID, CLIENT_SECRET  a client with client_credentials
//   RESOURCE_URL   a GET at the resource server

import { clientWithSecret, holder, oidc, refused } from "./oidc.mjs";
import { expect, play, required, step } from "./parts.mjs";

async function main() {
  const config = await clientWithSecret();
  const DPoP = await holder(config);
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
  await step("other_key", async () => refused(fetched({ DPoP: await holder(config) })));
}

await play(main);
