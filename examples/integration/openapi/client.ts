// Uses the reference server by a client whose types are generated from its OpenAPI
// document: openapi-typescript writes schema.d.ts, openapi-fetch sends the requests.
//
//	node client.js URL USERNAME PASSWORD
//
// It signs in by the password flow, calls routes and prints one line of JSON
// for each answer. That it compiles is a part of the test: it uses members of
// bodies by the types that the document states.
import createClient, { type Middleware } from 'openapi-fetch'
import type { components, paths } from './schema.js'

declare const process: { argv: string[] }

const [url, username, password] = process.argv.slice(2) as [string, string, string]
const say = (step: string, status: number, what: object = {}) => console.log(JSON.stringify({ step, status, ...what }))
const client = createClient<paths>({ baseUrl: url })

const signedIn = await client.POST('/token', {
  body: { grant_type: 'password', username, password },
  headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
  bodySerializer: (body) => new URLSearchParams(body as Record<string, string>),
})
if (!signedIn.data) throw new Error(`POST /token: ${signedIn.response.status} ${signedIn.error.error}`)
const pair: components['schemas']['Pair'] = signedIn.data
say('signed in', signedIn.response.status, { token_type: pair.token_type, scope: pair.scope })

const authorized: Middleware = {
  onRequest({ request }) {
    request.headers.set('Authorization', `Bearer ${pair.access_token}`)
    return request
  },
}
client.use(authorized)

const me = await client.GET('/users/me')
say('me', me.response.status, { username: me.data?.username })

const added = await client.POST('/items/', { body: { name: 'a chair' } })
say('added', added.response.status, { name: added.data?.name })

const refused = await client.GET('/admin/users')
say('refused', refused.response.status, { code: refused.error?.code })

const out = await client.POST('/logout/')
say('signed out', out.response.status)

const after = await client.GET('/users/me')
say('after', after.response.status, { code: after.error?.code })
