//go:build linux || darwin || freebsd

package models

import "syscall"

// freeSpace returns how many bytes this user can still write to the disk of a folder, and how many it has in all.
func freeSpace(dir string) (free, all int64, known bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), true
}
