package audit_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/audit"
)

func TestTheTargetOfARevocationIsTheNarrowestThingItNames(t *testing.T) {
	all := identity.Revocation{Issuer: "i", Credential: "c", Session: "s", Subject: "u", Tenant: "t", Spare: "k", Before: time.Unix(1, 0).UTC()}
	steps := []struct {
		drop func()
		want string
	}{
		{func() {}, "c/s [revoked=credential issuer=i subject=u tenant=t spare=k before=1970-01-01"},
		{func() { all.Credential = "" }, "u/s [revoked=subject issuer=i tenant=t spare=k before=1970-01-01"},
		{func() { all.Subject = "" }, "s/s [revoked=session issuer=i tenant=t spare=k before=1970-01-01"},
		{func() { all.Session = "" }, "t/ [revoked=tenant issuer=i spare=k before=1970-01-01"},
		{func() { all.Tenant, all.Spare = "", "" }, "i/ [revoked=issuer before=1970-01-01"},
	}
	for _, step := range steps {
		step.drop()
		e := audit.Revoked(all)
		if got := fmt.Sprint(e.Target, "/", e.Session, " ", e.Changes); e.Name != guard.EventTokenRevoked || len(got) < len(step.want) || got[:len(step.want)] != step.want {
			t.Errorf("%s, want %s", got, step.want)
		}
	}
}
