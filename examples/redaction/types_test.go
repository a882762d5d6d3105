package redaction

import (
	"reflect"

	// Imported so that a cached result of this test does not outlive a change of
	// the library.
	_ "github.com/gatewright/gatewright/apikey/sqlstore"
	_ "github.com/gatewright/gatewright/auth/redisstore"
	_ "github.com/gatewright/gatewright/auth/sqlstore"
	_ "github.com/gatewright/gatewright/auth/ticket"
	_ "github.com/gatewright/gatewright/blacklist/redislog"
	_ "github.com/gatewright/gatewright/blacklist/sqllog"
	_ "github.com/gatewright/gatewright/headers"
	_ "github.com/gatewright/gatewright/ratelimit/redisstore"
	_ "github.com/gatewright/gatewright/rbac"
	_ "github.com/gatewright/gatewright/scopes"
	_ "github.com/gatewright/gatewright/totp/sqlstore"
)

// exported has every exported type of the library. It is empty in this file:
// TestNoExportedTypeShowsASecret writes the file anew, with all types that the
// source has, and runs itself with it.
var exported []reflect.Type
