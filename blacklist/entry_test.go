package blacklist_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

// The IDs are at rest in logs: they must be the same in every version. These
// were computed with another program:
//
//	i=$(printf 'gatewright/blacklist 1\0https://accounts.example.com' | sha256sum | head -c 32)
//	(echo $i 02 | xxd -r -p; printf s1) | sha256sum | head -c 32
func TestIDsStayWhatTheyAre(t *testing.T) {
	now := time.UnixMicro(1_800_000_000_000_000)
	for _, tt := range []struct {
		r    identity.Revocation
		kind string
		id   string
	}{
		{identity.Revocation{Session: "s1"}, "session", idSession},
		{identity.Revocation{Credential: "c1"}, "credential", idCredential},
		{identity.Revocation{Subject: "u1", Before: now}, "subject", idSubject},
		{identity.Revocation{Subject: "u1", Tenant: "t1"}, "subject+tenant", idSubjectTenant},
		{identity.Revocation{Before: now}, "issuer", idIssuer},
	} {
		e := entryOf(t, tt.r)
		if got := hex.EncodeToString(e.ID[:]); got != tt.id || e.Kind.String() != tt.kind {
			t.Errorf("%+v: %v %s, want %s %s", tt.r, e.Kind, got, tt.kind, tt.id)
		}
	}
	spared := entryOf(t, identity.Revocation{Subject: "u1", Before: now, Spare: "s1"})
	if got := hex.EncodeToString(spared.Spare[:]); got != idSession {
		t.Errorf("Spare is %s, want the ID of the session", got)
	}
	if k := blacklist.Kind(16).String(); k != "Kind(16)" {
		t.Errorf("a kind that is none: %s", k)
	}
}

func TestEntriesHoldNoIdentifiers(t *testing.T) {
	e := entryOf(t, identity.Revocation{Subject: "alice@example.com", Before: time.Now(), Spare: "session-of-alice"})
	path := logPath(t)
	f := openLog(t, path)
	appendTo(t, f, e)
	for _, where := range []string{fmt.Sprintf("%+v", e), string(readFile(t, path))} {
		for _, secret := range []string{"alice", "session-of", issuer} {
			if strings.Contains(where, secret) {
				t.Errorf("%q is in %q", secret, where)
			}
		}
	}
}

func TestNewEntryRoundsUp(t *testing.T) {
	base := time.Unix(1_800_000_000, 0)
	for _, tt := range []struct {
		name string
		at   time.Time
		want int64
	}{
		{"no moment", time.Time{}, 0},
		{"a whole microsecond", base.Add(5 * time.Microsecond), base.UnixMicro() + 5},
		{"a nanosecond more", base.Add(5*time.Microsecond + 1), base.UnixMicro() + 6},
		{"1970, which must not look like no moment", time.Unix(0, 0), 1},
		{"before 1970", time.Unix(-1, 0), -1_000_000},
		{"before 1970, rounded up", time.Unix(-1, 1), -999_999},
		{"the year 9999", time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), 253402214400_000_000},
		{"later than can be counted", time.Unix(math.MaxInt64/1000, 0), math.MaxInt64},
		{"earlier than can be counted", time.Unix(math.MinInt64/1000, 0), math.MinInt64},
	} {
		e, err := blacklist.NewEntry(identity.Revocation{Issuer: issuer, Subject: "u", Before: tt.at, Expires: tt.at})
		if err != nil || e.Before != tt.want || e.Expires != tt.want {
			t.Errorf("%s: Before %d, Expires %d (%v), want %d", tt.name, e.Before, e.Expires, err, tt.want)
		}
	}
	if _, err := blacklist.NewEntry(identity.Revocation{}); err == nil {
		t.Error("an entry of nothing")
	}
}

func TestEntryMatches(t *testing.T) {
	now := time.Now()
	p := identity.Principal{Issuer: issuer, Credential: "c", Session: "s", Subject: "u", Tenant: "t", IssuedAt: now}
	for _, tt := range []struct {
		name string
		r    identity.Revocation
		want bool
	}{
		{"its credential", identity.Revocation{Credential: "c"}, true},
		{"another credential", identity.Revocation{Credential: "d"}, false},
		{"its session under the name of a subject", identity.Revocation{Subject: "s"}, false},
		{"its subject and tenant", identity.Revocation{Subject: "u", Tenant: "t"}, true},
		{"its subject in another tenant", identity.Revocation{Subject: "u", Tenant: "x"}, false},
		{"another issuer's", identity.Revocation{Issuer: "other", Credential: "c"}, false},
		{"its subject until later", identity.Revocation{Subject: "u", Before: now.Add(time.Second)}, true},
		{"its subject until then", identity.Revocation{Subject: "u", Before: now.Truncate(time.Microsecond)}, false},
		{"the issuer until later", identity.Revocation{Before: now.Add(time.Second)}, true},
		{"the others, its session spared", identity.Revocation{Subject: "u", Before: now.Add(time.Second), Spare: "s"}, false},
		{"the others, another session spared", identity.Revocation{Subject: "u", Before: now.Add(time.Second), Spare: "x"}, true},
		{"its session, expired", identity.Revocation{Session: "s", Expires: now.Add(-time.Hour)}, true},
	} {
		if got := entryOf(t, tt.r).Matches(&p); got != tt.want {
			t.Errorf("%s: Matches = %t, want %t", tt.name, got, tt.want)
		}
	}
	e := entryOf(t, identity.Revocation{Session: "s"})
	for _, nobody := range []*identity.Principal{nil, {}, {Issuer: issuer}, {Session: "s"}} {
		if e.Matches(nobody) {
			t.Errorf("%+v matches", nobody)
		}
	}
	without := p
	without.Session = ""
	if !entryOf(t, identity.Revocation{Subject: "u", Before: now.Add(time.Second), Spare: "x"}).Matches(&without) {
		t.Error("what belongs to no session was spared")
	}
	if (blacklist.Entry{Kind: 16}).Matches(&p) {
		t.Error("an entry of a later version matches")
	}
}

func TestEntryValidate(t *testing.T) {
	id := blacklist.ID{1}
	tests := []struct {
		name string
		e    blacklist.Entry
		want []string // nil: nothing is wrong
	}{
		{"a session", blacklist.Entry{Kind: blacklist.KindSession, ID: id}, nil},
		{"everything of an issuer before a moment", blacklist.Entry{ID: id, Before: 1}, nil},
		{"all but one session", blacklist.Entry{Kind: blacklist.KindSubject, ID: id, Before: 1, Spare: id}, nil},
		{"nothing at all", blacklist.Entry{}, []string{"neither Kind nor Before"}},
		{"everybody for ever", blacklist.Entry{ID: id, Expires: 1}, []string{"neither Kind nor Before"}},
		{"a kind of a later version", blacklist.Entry{Kind: 16, ID: id}, []string{"Entry.Kind is 16, which is not less than 16"}},
		{"every mistake at once", blacklist.Entry{Kind: 255, Spare: id}, []string{"Entry.Kind is 255", "Spare is set without Before"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.e.Validate()
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error %q does not tell that %s", err, want)
				}
			}
		})
	}
}

func TestMemoryLogFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &blacklist.MemoryLog{MaxEntries: 3}
		soon := entryOf(t, identity.Revocation{Session: "soon", Expires: time.Now().Add(time.Minute)})
		ever := entryOf(t, identity.Revocation{Session: "ever"})
		appendTo(t, log, soon, ever)
		if _, err := log.Append(t.Context(), ever, ever); !errors.Is(err, blacklist.ErrFull) {
			t.Errorf("Append = %v, want ErrFull", err)
		}
		wantEntries(t, log, []blacklist.Entry{soon, ever}, "nothing is evicted, and nothing recorded in part")
		time.Sleep(time.Minute)
		appendTo(t, log, ever, ever)
		wantEntries(t, log, []blacklist.Entry{ever, ever, ever}, "what has expired makes room")
	})
}

const (
	idSession       = "1d8499402a691f7257d40b64c0300079"
	idCredential    = "334d0329b55b75dd450b7282d0998e60"
	idSubject       = "99e9a5bcac03915c893fcedcc133fd3a"
	idSubjectTenant = "fd79d15d49fbd2f348dfdfcd08eef5cc"
	idIssuer        = "1f29317841befd0ff9567a18850e9efe"
)
