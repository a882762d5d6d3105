package blacklist

import (
	"sync"

	"github.com/gatewright/gatewright/auth/identity"
)

// recentMarks is the order of the latest entries with a Before, for sign-ins that
// are under way when the entries are recorded. Entries without a Before match in
// any order.
type recentMarks struct {
	mu   sync.Mutex
	list []numberedEntry // by number
}

// A numberedEntry has at least this sequence number: logs leave numbers out.
type numberedEntry struct {
	number uint64
	entry  Entry
}

const maxRecent = 4096

func (m *recentMarks) add(number uint64, e Entry) {
	if e.Before == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.list); n > 0 && m.list[n-1].number >= number {
		m.list = nil // the log was replaced, and is read once more
	}
	if len(m.list) == 2*maxRecent {
		m.list = append(m.list[:0], m.list[maxRecent:]...)
	}
	m.list = append(m.list, numberedEntry{number, e})
}

// matches reports whether an entry after the checkpoint would match p if p had
// been issued before it.
func (m *recentMarks) matches(s *set, p *identity.Principal, checkpoint uint64, now int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.list)
	if n == 0 || m.list[n-1].number <= checkpoint || len(p.Issuer) > MaxLength {
		return false
	}
	i, has := s.issuers.of(p.Issuer), fieldsOf(p)
	fields, spared := i.fields(p, has), i.spared(p)
	var ids [kinds]ID
	for k := range ids {
		if Kind(k)&^has == 0 {
			ids[k] = i.id(Kind(k), fields)
		}
	}
	issued := micros(p.IssuedAt)
	for n--; n >= 0 && m.list[n].number > checkpoint; n-- {
		e := &m.list[n].entry
		if e.Kind&^has == 0 && e.ID == ids[e.Kind] && !e.expired(now) && (e.Spare == ID{} || e.Spare != spared) &&
			(e.Before >= issued || issued-e.Before < orderWindow.Microseconds()) {
			return true
		}
	}
	return false
}
