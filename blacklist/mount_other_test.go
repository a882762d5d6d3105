//go:build !linux

package blacklist_test

import "errors"

func mountSmall(string, int) error { return errors.ErrUnsupported }
func mountReadOnly(string) error   { return errors.ErrUnsupported }
func unmount(string) error         { return nil }
