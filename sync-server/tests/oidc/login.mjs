// A person with a browser: logs in at a provider, and prints the id token that the app gets.
// `node login.mjs ISSUER CLIENT NONCE NAME`
import { createHash, randomBytes } from 'node:crypto';

const [issuer, client_id, nonce, name] = process.argv.slice(2);
const redirect_uri = 'http://127.0.0.1/callback';
const code_verifier = randomBytes(32).toString('base64url');
const code_challenge = createHash('sha256').update(code_verifier).digest('base64url');
const jar = new Map();

const visit = async (url, options = {}) => {
  const cookie = [...jar].map(([key, value]) => `${key}=${value}`).join('; ');
  const answer = await fetch(url, { ...options, redirect: 'manual', headers: { cookie } });
  for (const line of answer.headers.getSetCookie()) {
    const [, key, value] = /^([^=]+)=([^;]*)/.exec(line);
    jar.set(key, value);
  }
  return answer;
};

const ask = { client_id, redirect_uri, nonce, code_challenge, code_challenge_method: 'S256', response_type: 'code', scope: 'openid' };
let url = `${issuer}/auth?${new URLSearchParams(ask)}`;
let answer = await visit(url);
let code;
for (let step = 0; step < 20 && !code; step += 1) {
  const location = answer.headers.get('location');
  if (location) {
    url = new URL(location, url).href;
    if (url.startsWith(redirect_uri)) code = new URL(url).searchParams.get('code');
    else answer = await visit(url);
    continue;
  }
  const page = await answer.text();
  const action = /action="([^"]+)"/.exec(page)?.[1];
  const prompt = /name="prompt" value="([^"]+)"/.exec(page)?.[1];
  if (!action || !prompt) throw new Error(`an unexpected page: ${answer.status} ${page}`);
  url = new URL(action, url).href;
  answer = await visit(url, { method: 'POST', body: new URLSearchParams({ prompt, login: name, password: 'tide' }) });
}
const body = new URLSearchParams({ grant_type: 'authorization_code', client_id, code, redirect_uri, code_verifier });
const tokens = await (await fetch(`${issuer}/token`, { method: 'POST', body })).json();
if (!tokens.id_token) throw new Error(JSON.stringify(tokens));
console.log(tokens.id_token);
