// Finds the endpoints of a server by its metadata and uses them, as an OAuth
// client in another language would: with oauth4webapi, which is strict.
//
//	node client.mjs ISSUER USERNAME PASSWORD INTROSPECTOR-TOKEN
//
// It refreshes, introspects and revokes, says what it got on one line of JSON
// each, and ends with status 1 at the first thing that the library does not
// take.
import * as oauth from 'oauth4webapi'

const [issuer, username, password, introspector] = process.argv.slice(2)
// The one exception: the server under test has no certificate.
const options = { [oauth.allowInsecureRequests]: true, signal: () => AbortSignal.timeout(10_000) }
const say = (step, what = {}) => console.log(JSON.stringify({ step, ...what }))

// From the refusal of a resource to its authorization server (RFC 9728), and
// from there to the endpoints (RFC 8414).
async function discover() {
  let challenge
  try {
    await oauth.protectedResourceRequest('not-a-token', 'GET', new URL('/users/me', issuer), undefined, null, options)
  } catch (error) {
    if (!(error instanceof oauth.WWWAuthenticateChallengeError)) throw error
    challenge = error.cause[0]
  }
  say('challenge', { scheme: challenge?.scheme, ...challenge?.parameters })

  const here = new URL(issuer)
  const resource = await oauth.processResourceDiscoveryResponse(here, await oauth.resourceDiscoveryRequest(here, options))
  say('resource', resource)
  const there = new URL(resource.authorization_servers[0])
  const response = await oauth.discoveryRequest(there, { ...options, algorithm: 'oauth2' })
  const server = await oauth.processDiscoveryResponse(there, response)
  say('server', server)
  return server
}

const server = await discover()
const client = { client_id: 'first-party' }
const nobody = oauth.None() // token_endpoint_auth_method "none"
// RFC 7662 section 2.1: the endpoint may want a bearer token of the caller.
const bearer = (_server, _client, _body, headers) => headers.set('authorization', `Bearer ${introspector}`)

async function introspect(token) {
  const response = await oauth.introspectionRequest(server, client, bearer, token, options)
  return oauth.processIntrospectionResponse(server, client, response)
}

async function refresh(token, process = oauth.processRefreshTokenResponse) {
  return process(server, client, await oauth.refreshTokenGrantRequest(server, client, nobody, token, options))
}

async function revoke(token, hint) {
  const additionalParameters = { token_type_hint: hint }
  await oauth.processRevocationResponse(
    await oauth.revocationRequest(server, client, nobody, token, { ...options, additionalParameters }),
  )
}

// The application's own sign-in form.
const form = { username, password, scope: 'read:items' }
const first = await oauth.processGenericTokenEndpointResponse(
  server,
  client,
  await oauth.genericTokenEndpointRequest(server, client, nobody, 'password', form, options),
)
say('signed in', { token_type: first.token_type, scope: first.scope, expires_in: first.expires_in })
say('introspected', await introspect(first.access_token))

const second = await refresh(first.refresh_token)
say('refreshed', {
  token_type: second.token_type,
  scope: second.scope,
  replaced: second.access_token !== first.access_token && second.refresh_token !== first.refresh_token,
})
const me = await oauth.protectedResourceRequest(second.access_token, 'GET', new URL('/users/me', issuer), undefined, null, options)
say('used', { status: me.status, username: (await me.json()).username })

await revoke(second.access_token, 'access_token')
say('revoked the access token', await introspect(second.access_token))
const third = await refresh(second.refresh_token)
say('refreshed again', await introspect(third.access_token))

await revoke(third.refresh_token, 'refresh_token')
await revoke(third.refresh_token, 'access_token') // is no error (RFC 7009 section 2.2)
say('revoked the refresh token', await introspect(third.access_token))
try {
  await refresh(third.refresh_token)
  say('refreshed after all')
} catch (error) {
  if (!(error instanceof oauth.ResponseBodyError)) throw error
  say('refused', { error: error.error, status: error.status })
}
