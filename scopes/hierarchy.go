package scopes

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/auth/identity"
)

// maxPairs bounds the memory of a hierarchy: a chain of n scopes has n²/2.
const maxPairs = 100_000

// A hierarchy is the inverse transitive closure of Config.Implies: for each scope,
// all scopes that imply it, directly or not.
type hierarchy map[string]identity.Set

// newHierarchy reports every mistake in the names or, with correct names, the cycles.
func newHierarchy(implies map[string][]string) (hierarchy, error) {
	var errs []error
	parents := make(map[string][]string)
	for _, name := range slices.Sorted(maps.Keys(implies)) {
		if !isToken(name) {
			errs = append(errs, fmt.Errorf("scopes: Config.Implies has the scope %q; use %s", name, tokenGrammar))
		}
		for _, lesser := range implies[name] {
			if !isToken(lesser) {
				errs = append(errs, fmt.Errorf("scopes: Config.Implies[%q] has the scope %q; use %s", name, lesser, tokenGrammar))
			}
			parents[lesser] = append(parents[lesser], name)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	b := builder{implies, parents, make(hierarchy), 0}
	// Remove scopes without parents, again and again. The remaining scopes are
	// on a cycle, or behind one.
	open := make(map[string]int, len(parents))
	var ready []string
	for lesser := range parents {
		open[lesser] = len(parents[lesser])
	}
	for name := range implies {
		if open[name] == 0 {
			ready = append(ready, name)
		}
	}
	for len(ready) > 0 {
		name := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		if !b.settle(name) {
			return nil, fmt.Errorf("scopes: Config.Implies has more than %d pairs of scopes, indirect ones included; use fewer", maxPairs)
		}
		for _, lesser := range implies[name] {
			if open[lesser]--; open[lesser] == 0 {
				delete(open, lesser)
				ready = append(ready, lesser)
			}
		}
	}
	return b.all, b.cycles(open)
}

type builder struct {
	implies, parents map[string][]string
	all              hierarchy
	pairs            int
}

// settle records all scopes that imply name, after the same for its parents. It
// reports whether they are within maxPairs.
func (b *builder) settle(name string) bool {
	if len(b.parents[name]) == 0 {
		return true
	}
	found := make(map[string]struct{})
	for _, parent := range b.parents[name] {
		found[parent] = struct{}{}
		for above := range b.all[parent].All() {
			found[above] = struct{}{}
		}
		if b.pairs+len(found) > maxPairs {
			return false
		}
	}
	b.pairs += len(found)
	b.all[name] = identity.NewSet(slices.Collect(maps.Keys(found))...)
	return true
}

// cycles names a cycle for each group of scopes that imply each other. open has
// the scopes that are on a cycle or behind one.
func (b *builder) cycles(open map[string]int) error {
	var errs []error
	reported := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(open)) {
		// Some parent of an open scope is open too, so walking upwards ends at
		// a visited scope.
		var path []string
		for !slices.Contains(path, name) && !reported[name] {
			path = append(path, name)
			up := b.parents[name]
			name = up[slices.IndexFunc(up, func(p string) bool { return open[p] > 0 })]
		}
		if i := slices.Index(path, name); i >= 0 {
			cycle := slices.Concat(path[i:], []string{name})
			slices.Reverse(cycle)
			errs = append(errs, fmt.Errorf("scopes: Config.Implies has the cycle %s; remove one of its entries", strings.Join(cycle, " → ")))
		}
		for _, p := range path {
			reported[p] = true
		}
	}
	return errors.Join(errs...)
}

// passes reports whether granted has name, or a scope that implies it.
func (h hierarchy) passes(granted identity.Set, name string) bool {
	return granted.Has(name) || overlap(granted, h[name])
}

// overlap reports whether a name is in both sets.
func overlap(a, b identity.Set) bool {
	if a.Len() > b.Len() {
		a, b = b, a
	}
	for name := range a.All() {
		if b.Has(name) {
			return true
		}
	}
	return false
}
