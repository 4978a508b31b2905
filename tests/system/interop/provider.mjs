// A real OpenID provider for tests: oidc-provider with one public client, "writ", and its own development log-in pages.
//
// usage: node provider.mjs FOLDER-WITH-node_modules PORT KEYS.json ALGORITHM REDIRECT-URI      (KEYS.json: a private JWK set)
// Prints "ready" once it listens.  Knows nothing of Writ.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, port, keys, algorithm, redirect] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(`${folder}/node_modules/oidc-provider/lib/index.js`));
const jwks = JSON.parse(readFileSync(keys, "utf8"));

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: "writ",
    application_type: "native",
    token_endpoint_auth_method: "none",
    redirect_uris: [redirect],
    response_types: ["code"],
    grant_types: ["authorization_code"],
    id_token_signed_response_alg: algorithm,
    require_auth_time: true,
  }],
  jwks,
  cookies: { keys: ["only for tests"] },
  enabledJWA: { idTokenSigningAlgValues: [algorithm] },
  pkce: { required: () => true },
});

provider.on("server_error", (ctx, error) => console.error(error));
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
