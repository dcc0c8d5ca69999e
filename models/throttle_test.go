package models

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// failing tries to sign in under a name that is nobody's, from an address.
func (a *archive) failing(username, address string) error {
	a.t.Helper()
	_, err := a.Authenticate(a.t.Context(), By{Address: address}, SignIn{Username: username, Password: goodPassword, Code: "000000"})
	if err == nil {
		a.t.Fatalf("%s from %s is let in", username, address)
	}
	return err
}

func openStrictArchive(t *testing.T) *archive {
	t.Helper()
	a := &archive{t: t, dir: t.TempDir(), log: &book{}, scale: 1}
	a.open()
	t.Cleanup(func() { a.Close() })
	return a
}

func TestEachFailureIsFollowedByALongerWait(t *testing.T) {
	for failures, want := range map[int]time.Duration{
		0: 0, 4: 0, 5: 30 * time.Second, 6: time.Minute, 7: 2 * time.Minute, 8: 4 * time.Minute, 9: 8 * time.Minute,
		10: 15 * time.Minute, 11: 15 * time.Minute, 99: 15 * time.Minute, 1 << 40: 15 * time.Minute,
	} {
		if got := waitAfter(failures); got != want {
			t.Errorf("after %d failures the wait is %v, want %v", failures, got, want)
		}
	}
}

func TestAWindowNeverHoldsMoreThanItsLimit(t *testing.T) {
	const most, quarter = 30, 15 * 60 * 1000
	random := rand.New(rand.NewPCG(1, 2))
	var w window
	var counted []int64
	refusedAt := int64(0)
	for now := int64(1_800_000_000_000); now < 1_800_000_000_000+6*3600*1000; now += random.Int64N(40_000) {
		if wait := w.wait(most, 0, now, quarterSlot); wait > 0 {
			if wait > 16*time.Minute {
				t.Fatalf("the wait is %v", wait)
			}
			if refusedAt == 0 && w.wait(most, 0, now+wait.Milliseconds(), quarterSlot) > 0 {
				t.Fatalf("after the wait of %v it goes on", wait)
			}
			refusedAt = now
			w = readWindow(w.encoded())
			continue
		}
		refusedAt = 0
		w.add(now, quarterSlot)
		counted = append(counted, now)
		if len(counted) > most && now-counted[len(counted)-1-most] < quarter {
			t.Fatalf("%d in %v", most+1, time.Duration(now-counted[len(counted)-1-most])*time.Millisecond)
		}
	}
	if len(counted) < 6*4*most*3/4 {
		t.Errorf("only %d are let through in six hours", len(counted))
	}
	if wait := w.wait(most, 0, counted[0]-365*24*3600*1000, quarterSlot); wait != 0 {
		t.Errorf("a clock that was put back by a year waits %v", wait)
	}
}

func TestAnIPv6AddressCountsWithItsNetwork(t *testing.T) { // R22
	t.Parallel()
	a := openStrictArchive(t)
	name := 0
	fail := func(address string) error {
		name++
		return a.failing(fmt.Sprintf("nobody%d", name), address)
	}
	for i := range 30 {
		if err := fail(fmt.Sprintf("2001:db8:1:1::%x", i+1)); KindOf(err) != Invalid {
			t.Fatalf("failure %d: %v", i+1, err)
		}
	}
	if err := fail("2001:db8:1:1:ffff::1"); KindOf(err) != Limited {
		t.Errorf("another address of the same /64: %v", err)
	}
	if err := fail("::ffff:192.0.2.1"); KindOf(err) != Invalid {
		t.Errorf("an IPv4 address: %v", err)
	}
	for i := range 70 { // at most 24 from each of three other networks of the same /48
		if err := fail(fmt.Sprintf("2001:db8:1:%x::1%%eth0", 2+i%3)); KindOf(err) != Invalid {
			t.Fatalf("failure %d from other networks: %v", i+1, err)
		}
	}
	if err := fail("2001:db8:1:ffff::1"); KindOf(err) != Limited {
		t.Errorf("after a hundred failures of a /48: %v", err)
	}
	if err := fail("2001:db8:2::1"); KindOf(err) != Invalid {
		t.Errorf("another /48: %v", err)
	}
	if strings.Contains(a.log.String(), "%eth0") {
		t.Error("the log names an interface")
	}
}

func TestNamesOfNobodyAreBoundedAndNeverPushAPersonOut(t *testing.T) { // R21
	t.Parallel()
	a := openStrictArchive(t)
	a.user("ada", "Ada Lovelace")
	for range 5 {
		a.failing("ada", "")
		a.failing("early", "")
	}
	if _, err := a.intruder().Exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
		INSERT INTO attempts (key, failures, guessed, since_ms, last_ms, until_ms) SELECT randomblob(32), 1, 0, 0, ?, 0 FROM n`, a.now()+1000); err != nil {
		t.Fatal(err)
	}
	a.ahead.Add(int64(5 * time.Second))
	a.failing("late", "")
	var rows int
	if err := a.intruder().QueryRow("SELECT count(*) FROM attempts WHERE user_id IS NULL").Scan(&rows); err != nil || rows != attemptsKept {
		t.Errorf("%d rows of nobody, %v", rows, err)
	}
	if err := a.failing("early", ""); KindOf(err) != Invalid {
		t.Errorf("the oldest name is still known: %v", err)
	}
	if err := a.failing("ada", ""); KindOf(err) != Limited {
		t.Errorf("a person's failures are forgotten: %v", err)
	}
}

func TestOnlyTheAccountsOwnDeviceCountsAndTheOperatorEndsThem(t *testing.T) { // R23
	t.Parallel()
	a := openStrictArchive(t)
	ada, secret, _ := a.registered(Registration{Username: "ada", FullName: "Ada Lovelace", Email: "ada@example.org", Password: goodPassword})
	arrive := func(user ID, cookie string) string {
		a.ahead.Add(int64(time.Second))
		who, err := a.User(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.Arrive(t.Context(), By{User: user, Address: "192.0.2.1"}, who, ByCode, "", cookie)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := arrive(ada.ID, "")
	if again := arrive(ada.ID, first); again != first {
		t.Error("a known device gets another cookie")
	}
	eve := a.user("eve", "Eve Moneypenny")
	if taken := arrive(eve, first); taken == first || len(taken) < 26 {
		t.Errorf("the cookie of somebody else's device becomes Eve's: %q", taken)
	}
	if planted := arrive(ada.ID, "planted-by-eve"); planted == "planted-by-eve" {
		t.Error("a planted cookie becomes a device's")
	}
	with := func(cookie string) error {
		_, err := a.Authenticate(t.Context(), By{}, SignIn{Username: "ada", Password: "wrong lantern over the harbour", Code: "000000", Device: cookie})
		return err
	}
	for range 6 {
		with("")
	}
	if err := with(first); KindOf(err) != Invalid {
		t.Errorf("the device waits with the others: %v", err)
	}
	for range devicesPerUser { // which are newer
		arrive(ada.ID, "")
	}
	if err := with(first); KindOf(err) != Limited {
		t.Errorf("the twenty-first device still counts: %v", err)
	}
	last := arrive(ada.ID, "")
	if err := with(last); KindOf(err) != Invalid {
		t.Errorf("the newest: %v", err)
	}
	if err := a.act(t.Context(), func(t *act) error { return t.forgetDevices(ada.ID) }); err != nil {
		t.Fatal(err)
	}
	if err := with(last); KindOf(err) != Limited {
		t.Errorf("a device that was ended: %v", err)
	}
	if err := a.act(t.Context(), func(t *act) error { _, err := t.unlock(ada.ID); return err }); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Authenticate(t.Context(), By{}, SignIn{Username: "ada", Password: goodPassword, Code: a.codeNow(secret)}); err != nil {
		t.Errorf("unlocked by the operator: %v", err)
	}
	var left int
	if err := a.intruder().QueryRow("SELECT count(*) FROM attempts WHERE key NOT IN (SELECT hash FROM devices) AND failures > 0").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d rows are left over (%v)", left, err)
	}
}

// codeNow is a code by the archive's own clock that was not used yet.
func (a *archive) codeNow(secret string) string {
	a.ahead.Add(int64(31 * time.Second))
	return codeOf(a.t, secret, int(time.Duration(a.ahead.Load())/(30*time.Second)))
}

func TestManyWrongRoomCodesRaiseOneAlarmAnHour(t *testing.T) { // R60
	t.Parallel()
	a := openStrictArchive(t)
	wrong := func(count int) {
		for i := range count {
			by := By{User: newID(), Address: fmt.Sprintf("10.0.%d.%d", rand.IntN(255), i%250)}
			err := a.TryCode(t.Context(), by, "0000-0000-0000-0000", func() error {
				_, err := a.Join(t.Context(), by, "0000-0000-0000-0000")
				return err
			})
			if KindOf(err) != NotFound {
				t.Fatalf("wrong code %d: %v", i, err)
			}
		}
	}
	alarms := func() (count int) {
		a.intruder().QueryRow("SELECT count(*) FROM audit_log WHERE event = 'alarm.codes'").Scan(&count)
		return count
	}
	wrong(1)
	if _, err := a.intruder().Exec("UPDATE attempts SET failures = 498 WHERE failures = 1"); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{0, 1, 1, 1} {
		wrong(1)
		if got := alarms(); got != want {
			t.Errorf("%d alarms after %d wrong codes", got, 499+i)
		}
	}
	if !strings.Contains(a.log.String(), "many wrong room codes") {
		t.Error("the log does not say so")
	}
	a.ahead.Add(int64(61 * time.Minute))
	wrong(1)
	a.intruder().Exec("UPDATE attempts SET failures = 499 WHERE failures = 1")
	wrong(1)
	if got := alarms(); got != 2 {
		t.Errorf("%d alarms in the next hour", got)
	}
}

func TestARightRoomCodeIsNoFailure(t *testing.T) { // R60
	t.Parallel()
	a := openStrictArchive(t)
	ada, grace := a.user("ada", "Ada Lovelace"), a.user("grace", "Grace Hopper")
	code := a.codeOf(a.create(ada, "Engine room"))
	by := By{User: grace, Address: "192.0.2.1"}
	for range 12 {
		err := a.TryCode(t.Context(), by, code, func() error {
			_, err := a.Join(t.Context(), by, code)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A change of the account while a sign-in is being judged must neither let an old password in nor
// refuse what is right.
func TestASignInDuringAChangeIsJudgedAnew(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada, secret, codes := a.registered(Registration{Username: "ada", FullName: "Ada Lovelace", Email: "ada@example.org", Password: goodPassword})
	fresh, err := a.hasher.hash(t.Context(), "green ladder beside the well")
	if err != nil {
		t.Fatal(err)
	}
	during := func(code string, change func(*account) error) error {
		a.hasher.working <- struct{}{} // whoever wants to hash now waits
		a.hasher.working <- struct{}{}
		answer := make(chan error)
		go func() {
			_, err := a.Authenticate(context.Background(), By{}, SignIn{Username: "ada", Password: goodPassword, Code: code})
			answer <- err
		}()
		for len(a.hasher.admitted) == 0 {
			time.Sleep(time.Millisecond)
		}
		err := a.act(t.Context(), func(t *act) error { return t.change(By{User: ada.ID}, ada.ID, "profile", change) })
		if err != nil {
			t.Fatal(err)
		}
		<-a.hasher.working
		<-a.hasher.working
		return <-answer
	}
	for name, code := range map[string]string{"a code": a.codeNow(secret), "a recovery code": codes[0]} {
		if err := during(code, func(*account) error { return nil }); err != nil {
			t.Errorf("with %s, during another change: %v", name, err)
		}
	}
	err = during(a.codeNow(secret), func(c *account) error {
		c.row.Password = a.service.SealPassword(ada.ID, []byte(fresh))
		return nil
	})
	if KindOf(err) != Invalid {
		t.Errorf("the password that was changed meanwhile: %v", err)
	}
	err = during(a.codeNow(secret), func(c *account) error {
		c.profile.DisabledMS = 1
		return nil
	})
	if KindOf(err) != Invalid {
		t.Errorf("an account that was disabled meanwhile: %v", err)
	}
}

func TestAStolenSessionGuessesNoFasterThanAStranger(t *testing.T) { // R33
	t.Parallel()
	a := openStrictArchive(t)
	ada, secret, _ := a.registered(Registration{Username: "ada", FullName: "Ada Lovelace", Email: "ada@example.org", Password: goodPassword})
	by := By{User: ada.ID}
	for _, wait := range []time.Duration{0, 0, 0, 0, 30, 60, 0} { // seconds; then it is two minutes
		if err := a.Reauthenticate(t.Context(), by, goodPassword, "000000", Answer{}); KindOf(err) != Invalid {
			t.Fatal(err)
		}
		a.ahead.Add(int64(wait * time.Second))
	}
	code := a.codeNow(secret)
	if err := a.Reauthenticate(t.Context(), by, goodPassword, code, Answer{}); KindOf(err) != Limited {
		t.Errorf("after five failures: %v", err)
	}
	if _, err := a.Authenticate(t.Context(), By{}, SignIn{Username: "ada", Password: goodPassword, Code: code}); err != nil {
		t.Errorf("the login waits for it: %v", err)
	}
	if err := a.Reauthenticate(t.Context(), by, goodPassword, a.codeNow(secret), Answer{}); err != nil {
		t.Errorf("after a login: %v", err)
	}
}
