package handlers_test

import (
	"net/http"
	"testing"
)

// As long as the server does not know what its audit log says it lets nobody in, and says so: on the
// page, in the form of the login, to the feed. What needs no account goes on.
func TestAServerThatHasNotReadItsAuditLogLetsNobodyInAndSaysSo(t *testing.T) { // C14
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	address := o.server.Listener.Addr().String()
	o.stop()
	if _, err := o.intruder().Exec(`ALTER TABLE audit_log RENAME TO kept; CREATE TABLE audit_log AS SELECT * FROM kept;
		UPDATE audit_log SET event = NULL WHERE n = 1`); err != nil {
		t.Fatal(err)
	}
	o.start(address)
	const sentence = "could not read its audit log"
	busy := func(a *answer) *answer {
		t.Helper()
		if after := a.want(http.StatusServiceUnavailable).header.Get("Retry-After"); after != "60" {
			t.Errorf("%s: Retry-After is %q", a.what, after)
		}
		return a
	}
	busy(ada.get("/account/sessions")).contains(sentence).contains(`href="/account/sessions">Try again`)
	busy(ada.get("/account", htmx...)).contains(sentence)
	busy(ada.get("/feed"))
	busy(ada.post("/session", nil))
	busy(ada.post("/account", fields{"full_name": "Ada King"}))
	stranger := o.visitor()
	form := busy(stranger.post("/login", fields{"username": "ada", "password": password, "code": ada.code()})).contains(sentence)
	form.contains(`value="ada"`)
	stranger.get("/login").want(200)
	stranger.get("/register").want(200)
	ada.get("/healthz").want(200)
}
