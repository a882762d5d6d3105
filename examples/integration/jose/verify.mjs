// Verifies the access token on standard input as a service in another language
// would: with the public keys that the server publishes, and nothing else.
//
//	node verify.mjs JWKS-URL ISSUER AUDIENCE
//
// It prints the claims as JSON, or the code of jose's error, and then ends
// with status 1.
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { text } from 'node:stream/consumers'

const [jwks, issuer, audience] = process.argv.slice(2)
const token = (await text(process.stdin)).trim()
try {
  const keys = createRemoteJWKSet(new URL(jwks), { timeoutDuration: 5000 })
  const { payload } = await jwtVerify(token, keys, {
    issuer,
    audience,
    typ: 'at+jwt',
    algorithms: ['ES256'],
    requiredClaims: ['exp', 'sub', 'jti', 'client_id'],
  })
  console.log(JSON.stringify(payload))
} catch (error) {
  console.log(error.code ?? String(error))
  process.exitCode = 1
}
