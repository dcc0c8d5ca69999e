package handlers_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// meter measures what a process uses. Instructions, user and kernel, are the unit that repeats
// on a machine that others use too; where perf_event does not count them there is processor time.
type meter struct {
	pid      int
	cpu      time.Duration
	counters []int
}

func startMeter(pid int) *meter {
	m := &meter{pid: pid, cpu: processorTime(pid)}
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_HARDWARE, Config: unix.PERF_COUNT_HW_INSTRUCTIONS, Bits: unix.PerfBitInherit}
	attr.Size = uint32(unsafe.Sizeof(attr))
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, t := range threads { // threads that they start are counted with them
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if fd, err := unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC); err == nil {
			m.counters = append(m.counters, fd)
		}
	}
	return m
}

// used is what a process has used; instructions are 0 where nobody counts them.
type used struct {
	cpu          time.Duration
	instructions float64
}

func (m *meter) stop() used {
	u := used{cpu: processorTime(m.pid) - m.cpu}
	var count [8]byte
	for _, fd := range m.counters {
		if n, _ := unix.Read(fd, count[:]); n == len(count) {
			u.instructions += float64(binary.NativeEndian.Uint64(count[:]))
		}
		unix.Close(fd)
	}
	return u
}

// processorTime reads the clock that the kernel keeps for each process, in nanoseconds; what
// /proc says comes in ticks of ten milliseconds.
func processorTime(pid int) time.Duration {
	var t unix.Timespec
	clock := int32(^pid)<<3 | 2 // the clock of a process, user and system (CPUCLOCK_SCHED)
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// resident returns the resident memory of a process in bytes.
func resident(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	kib, _ := strconv.Atoi(strings.Fields(after + " 0")[0])
	return kib << 10
}
