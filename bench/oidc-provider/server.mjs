// oidc-provider as it is measured: opaque access tokens, rotated refresh tokens, introspection, and
// everything in the memory of the process. Writes refresh tokens to begin with, a line each.
//
//   node server.mjs PORT FILE COUNT
import { writeFileSync } from 'node:fs';

import Provider from 'oidc-provider';

const [port, file, count] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

// The adapter that comes with it forgets all but the last thousand.
const kept = new Map();
const grants = new Map();

class Memory {
  constructor(name) {
    this.name = name;
  }

  key(id) {
    return `${this.name}:${id}`;
  }

  async upsert(id, payload) {
    const key = this.key(id);
    kept.set(key, payload);
    if (payload.grantId) {
      if (!grants.has(payload.grantId)) grants.set(payload.grantId, []);
      grants.get(payload.grantId).push(key);
    }
  }

  async find(id) {
    return kept.get(this.key(id));
  }

  async findByUid() {
    return undefined;
  }

  async findByUserCode() {
    return undefined;
  }

  async consume(id) {
    kept.get(this.key(id)).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    kept.delete(this.key(id));
  }

  async revokeByGrantId(grantId) {
    for (const key of grants.get(grantId) ?? []) kept.delete(key);
    grants.delete(grantId);
  }
}

const web = 'records-web';
const scope = 'records:read';
const secret = (id) => `demo-secret-of-${id}`;
const client = (id, more) => ({
  client_id: id,
  client_secret: secret(id),
  response_types: [],
  redirect_uris: [],
  ...more,
});

const provider = new Provider(issuer, {
  adapter: Memory,
  clients: [
    client('nightly-report', { grant_types: ['client_credentials'], scope: 'records:list' }),
    client('gateway', { grant_types: ['client_credentials'] }),
    client(web, {
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      redirect_uris: ['https://app.example/callback'],
      scope,
    }),
  ],
  scopes: ['openid', 'offline_access', 'records:read', 'records:list'],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: async () => true },
  },
  rotateRefreshToken: true,
  findAccount: async (_ctx, sub) => ({ accountId: sub, claims: async () => ({ sub }) }),
  ttl: { RefreshToken: 3600, AccessToken: 900, ClientCredentials: 900, Grant: 86400, IdToken: 600 },
  cookies: { keys: ['only for measuring'] },
});

const lines = [];
for (let n = 0; n < Number(count); n += 1) {
  const grant = new provider.Grant({ accountId: 'alice', clientId: web });
  grant.addOIDCScope(scope);
  const token = new provider.RefreshToken({
    accountId: 'alice',
    client: await provider.Client.find(web),
    grantId: await grant.save(),
    gty: 'authorization_code',
    scope,
    authTime: Math.floor(Date.now() / 1000),
    rotations: 0,
  });
  lines.push(await token.save());
}
writeFileSync(file, `${lines.join('\n')}\n`);
provider.listen(Number(port), '127.0.0.1');
