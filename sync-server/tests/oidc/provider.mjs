// A login provider made of oidc-provider, with fresh keys at each start: `node provider.mjs [PORT]`.
// Prints its issuer once it serves; ends with its standard input.
import { createServer } from 'node:http';
import { randomUUID } from 'node:crypto';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';

// Standard output is for the issuer alone; the library's notices are about what a test does not need.
console.info = () => {};

const fresh = async (alg) => {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: randomUUID() };
};
const client = (client_id, alg) => ({
  client_id,
  application_type: 'native',
  token_endpoint_auth_method: 'none',
  redirect_uris: ['http://127.0.0.1/callback'],
  response_types: ['code'],
  grant_types: ['authorization_code'],
  require_auth_time: true,
  id_token_signed_response_alg: alg,
});

const server = createServer();
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', async () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [client('notes', 'RS256'), client('curves', 'ES256'), client('other', 'RS256')],
    jwks: { keys: [await fresh('RS256'), await fresh('ES256')] },
    cookies: { keys: [randomUUID()] },
  });
  server.on('request', provider.callback());
  console.log(issuer);
});
process.stdin.resume().on('end', () => process.exit(0));
