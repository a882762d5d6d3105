// Package integration proves the reference server and the quickstart from the
// outside: as processes, over the network, with clients that others wrote.
//
//	go -C examples test ./integration
//
// It builds the two programs once, starts each on a free port of the loopback
// interface with a database in a temporary folder, and kills only what it
// started. What it proves:
//
//   - the curl line that is printed signs in as it stands,
//   - golang.org/x/oauth2 signs in and refreshes, however it sends its client
//     ID,
//   - jose, a JavaScript library, verifies a token with the published keys,
//   - oauth4webapi, another one, finds every endpoint by the metadata, and
//     refreshes, introspects and revokes,
//   - spectral and redocly find no error in /openapi.json, and a TypeScript client
//     that is generated from it signs in and calls routes,
//   - MDN's HTTP Observatory rates its answers A+ with 130 points, and the CSP
//     Evaluator finds nothing in their policies,
//   - kill -9 at any moment loses nothing that was acknowledged,
//   - 200 sign-ins at once stay within the memory they may have, and the ones
//     that are too many are told to come back,
//   - several processes share a database and its secrets,
//   - servers on several machines, with a PostgreSQL and a Redis between them,
//     act as one, and go on or refuse as they should when one of these is gone,
//   - sessions, API keys, second factors, limits and revocations in SQLite,
//     PostgreSQL and Redis, as far as there is a store for it, by their
//     conformance suites, under faults: killed, paused, silent, slow, full,
//     with answers that are lost and with data that is lost,
//   - standbys, fenced primaries, Redis replicas and servers that reject writes are
//     outages, which servers and clients leave within seconds,
//   - the stores with other drivers, behind pgbouncer, at every isolation, with
//     schemas that many processes create at once, and with the documented rights of
//     a Redis user,
//   - a second factor from its setup to its end,
//   - QR codes, read by zbarimg and by jsQR, and one-time codes, made by
//     oathtool.
//
// What each fault does to limits is printed as a table by
//
//	go -C examples test -run TestFaultTable -v ./integration
//
// Redis as a cluster of three nodes is tested with -tags cluster.
//
// Some tests need programs that may be missing, and say so when they are
// skipped: curl, zbarimg, oathtool, redis-server, PostgreSQL (see package
// servers), pgbouncer, and node with the packages that are installed by
//
//	npm --prefix examples/integration/jose ci
//	npm --prefix examples/integration/observatory ci
//	npm --prefix examples/integration/openapi ci
//	npm --prefix examples/integration/qr ci
//
// With GATEWRIGHT_REQUIRE_NODE=1, and likewise _ZBAR, _OATHTOOL, _REDIS and
// _POSTGRES, a missing one is a failure. It takes some three minutes on
// two processors; with -short the longest test makes fewer rounds.
package integration
