// Package docs tests the documentation: the Go fragments in README.md and in the
// comments of the library compile, and the links in Markdown files lead somewhere.
package docs
