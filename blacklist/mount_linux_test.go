package blacklist_test

import (
	"fmt"
	"syscall"
)

// mountSmall puts an empty file system of so many bytes over the folder, which
// takes the rights of an administrator.
func mountSmall(folder string, size int) error {
	return syscall.Mount("tmpfs", folder, "tmpfs", 0, fmt.Sprintf("size=%d", size))
}

func mountReadOnly(folder string) error {
	return syscall.Mount("", folder, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
}

func unmount(folder string) error { return syscall.Unmount(folder, syscall.MNT_DETACH) }
