package demo

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The console of a demo stands in for the app of whoever has none.
func TestADemoSaysTheCodesUntilSomebodyIsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		keys, typed := io.Pipe()
		var told sync.Mutex // over what both goroutines touch
		var out bytes.Buffer
		people := []Person{{Username: "mara", Secret: "MFRGGZDFMZTWQ2LKMFRGGZDFMZTWQ2LK"}, {Username: "yusuf", Secret: "ORSXG5BAORSXG5BAORSXG5BAORSXG5BA"}}
		inside := map[string]bool{}
		ended := make(chan bool)
		go func() {
			Console{Out: locked{&told, &out}, People: people, Zone: time.UTC, Inside: func(p Person) bool {
				told.Lock()
				defer told.Unlock()
				return inside[p.Username]
			}}.TellCodes(ctx, keys)
			close(ended)
		}()
		says := func(after time.Duration, want string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			told.Lock()
			defer told.Unlock()
			if got := out.String(); !regexp.MustCompile(`^` + want + `$`).MatchString(got) {
				t.Errorf("it says %q, want %q", got, want)
			}
			out.Reset()
		}
		comesIn := func(who string, is bool) {
			told.Lock()
			defer told.Unlock()
			inside[who] = is
		}
		const mara, yusuf = `   mara \d{3} \d{3}`, `   yusuf \d{3} \d{3}`
		says(29*time.Second, "")
		says(time.Second, `  codes at ..:..:30`+mara+yusuf+"\n")
		comesIn("mara", true)
		says(30*time.Second, `  codes at ..:..:00`+yusuf+"\n")
		comesIn("yusuf", true)
		says(time.Minute, "")
		io.WriteString(typed, "\n")
		says(0, `  codes at ..:..:00`+mara+yusuf+"\n")
		typed.Close() // as with </dev/null
		comesIn("mara", false)
		says(30*time.Second, `  codes at ..:..:30`+mara+"\n")
		cancel()
		<-ended
	})
}

// locked is a writer that shares a lock with whoever reads what was written.
type locked struct {
	sync.Locker
	w io.Writer
}

func (l locked) Write(p []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.w.Write(p)
}
