// Package peers compares decisions of this module with those of other libraries,
// in tests. It is a module of its own, so that nothing else depends on them.
package peers
