//go:build !(linux || darwin || freebsd)

package models

// freeSpace is not known on this system.
func freeSpace(string) (free, all int64, known bool) { return 0, 0, false }
