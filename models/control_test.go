package models

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestTheControlSocketIsItsOwnersOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	path := filepath.Join(w.dir, controlName)
	info, err := os.Stat(path)
	if err != nil || info.Mode()&os.ModeSocket == 0 || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	must(t, s.Close())
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the end: %v", err)
	}
}

func TestACommandIsCarriedOutByTheServerThatRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	first := s.masters.now().Name()
	var work sync.WaitGroup
	for range 3 { // several operators at once
		work.Go(func() {
			text, err := Ask(ctx, options(w.dir), CommandRotate, "")
			if err != nil || !strings.Contains(text, "keys destroy") {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	work.Wait()
	if now := s.masters.now().Name(); now == first || len(w.keyFiles(t)) != 4 {
		t.Errorf("the server uses key %s; files %v", now, w.keyFiles(t))
	}
	if _, err := Ask(ctx, options(w.dir), CommandDestroyKey, s.masters.now().Name()); err == nil {
		t.Error("the current key is destroyed")
	}
	text, err := Ask(ctx, options(w.dir), CommandDestroyKey, first)
	if err != nil || !strings.Contains(text, first) || len(w.keyFiles(t)) != 3 {
		t.Errorf("%q, %v; files %v", text, err, w.keyFiles(t))
	}
	w.believed(t, s, w.ada, w.engine, nothing)
	must(t, s.Close())

	// And here, when no server runs.
	if _, err := Ask(ctx, options(w.dir), CommandRotate, ""); err != nil {
		t.Error(err)
	}
	if len(w.keyFiles(t)) != 4 {
		t.Errorf("files %v", w.keyFiles(t))
	}
	w.whole(t)
	w.believed(t, w.start(t), w.ada, w.engine, nothing)
}

func TestASocketThatIsLeftFromACrashIsNoObstacle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := filepath.Join(w.dir, controlName)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	must(t, l.Close())
	if _, err := Ask(ctx, options(w.dir), CommandRotate, ""); err != nil {
		t.Errorf("a command without a server: %v", err)
	}
	l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	must(t, l.Close())
	w.start(t)
	if _, err := Ask(ctx, options(w.dir), CommandRotate, ""); err != nil {
		t.Errorf("a command to the next server: %v", err)
	}
}

func TestGarbageOnTheControlSocketIsHarmless(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	first := s.masters.now().Name()
	for _, text := range []string{"", "\n", "hello\n", "{}\n", `{"command":"keys eat"}` + "\n", `{"command":["keys rotate"]}` + "\n", "\x00\xff\xfe", `{"command":"keys destroy","name":"../../lock"}` + "\n",
		`{"command":"` + strings.Repeat("x", 1<<20) + `"}` + "\n", strings.Repeat("[", 100_000)} {
		conn, err := net.Dial("unix", filepath.Join(w.dir, controlName))
		must(t, err)
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		conn.Write([]byte(text))
		conn.(*net.UnixConn).CloseWrite()
		answer, err := io.ReadAll(conn)
		if err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%.40q: %v", text, err)
		}
		var r reply
		if len(bytes.TrimSpace(answer)) > 0 && (json.Unmarshal(answer, &r) != nil || r.Error == "" || r.Text != "") {
			t.Errorf("%.40q is answered by %.200q", text, answer)
		}
		conn.Close()
	}
	if s.masters.now().Name() != first || len(w.keyFiles(t)) != 1 {
		t.Error("something has happened")
	}
	if _, err := Ask(ctx, options(w.dir), "keys eat", ""); err == nil || !strings.Contains(err.Error(), "keys eat") {
		t.Errorf("an unknown command: %v", err)
	}
	// Somebody who connects and says nothing keeps neither others nor the shutdown waiting.
	silent, err := net.Dial("unix", filepath.Join(w.dir, controlName))
	must(t, err)
	defer silent.Close()
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := Ask(limited, options(w.dir), CommandRotate, ""); err != nil {
		t.Error(err)
	}
	begin := time.Now()
	must(t, s.Close())
	if took := time.Since(begin); took > 900*time.Millisecond {
		t.Errorf("the shutdown took %v", took)
	}
}

// A folder whose path is longer than the name of a socket may be is still a folder.
func TestADataFolderWithALongPathIsServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := filepath.Join(t.TempDir(), strings.Repeat("a folder in a folder/", 8))
	must(t, os.MkdirAll(filepath.Dir(long), 0o700))
	must(t, os.Rename(w.dir, long))
	w.dir = long
	s, err := Open(options(w.dir))
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	must(t, s.Close())
	w.whole(t)
}

func TestACommandDuringTheShutdownDoesNotHoldItUp(t *testing.T) {
	t.Parallel()
	for range 20 {
		w := newWorld(t)
		s, err := Open(options(w.dir)) // not closed again at the end: a shutdown that hangs would hang there, too
		must(t, err)
		asked := make(chan bool)
		go func() {
			Ask(ctx, options(w.dir), "keys destroy", "00000000") // refused or not answered at all
			close(asked)
		}()
		closed := make(chan error)
		go func() { closed <- s.Close() }()
		select {
		case err := <-closed:
			must(t, err)
		case <-time.After(5 * time.Second):
			t.Fatal("the shutdown hangs")
		}
		<-asked
	}
}
