package handlers

import (
	"strings"

	"conclave/models"
	"conclave/views"
)

// auditKinds are the kinds of events with every event of theirs, in words. A kind is asked for by
// its name in lower case with hyphens.
var auditKinds = []struct {
	name   string
	events [][2]string
}{
	{"Logging in", [][2]string{
		{"login.ok", "Logged in"}, {"login.fail", "Login refused"}, {"login.code", "Login refused: right password, wrong code"}, {"login.wait", "Has to wait before the next try"},
		{"sudo", "Gave password and code again"}, {"attempts.lift", "Ended the wait of an account"}, {"passkey.clone", "A passkey may have been copied"},
	}},
	{"Accounts", [][2]string{
		{"account.register", "Registered"}, {"account.profile", "Changed the name"}, {"account.email", "Changed the email address"}, {"account.password", "Changed the password"},
		{"account.totp", "Set up a new authenticator"}, {"account.codes", "Made new recovery codes"}, {"account.recovery", "Used a recovery code"}, {"account.rehash", "Password hashed anew"},
		{"account.passkey", "Added a passkey"}, {"account.passkey-name", "Renamed a passkey"}, {"account.passkey-remove", "Removed a passkey"}, {"account.disable", "Disabled an account"}, {"account.enable", "Enabled an account"},
		{"account.promote", "Made an administrator"}, {"account.demote", "Took administration away"}, {"account.reset-link", "Made a link for a new password"}, {"account.reset", "Set a new password through a link"},
		{"account.delete", "Deleted an account"},
	}},
	{"Sessions", [][2]string{{"session.end", "Session ended"}}},
	{"Invitations and links", [][2]string{{"token.create", "Made a link"}, {"token.use", "Used a link"}, {"token.revoke", "Revoked a link"}}},
	{"Rooms", [][2]string{
		{"room.create", "Created a room"}, {"room.join", "Joined a room"}, {"room.leave", "Left a room"}, {"room.remove", "Removed from a room"}, {"room.ban", "Banned from a room"},
		{"room.unban", "Lifted a ban"}, {"room.role", "Changed a role in a room"}, {"room.own", "Handed a room over"}, {"room.code", "Changed a room code"}, {"room.history", "Changed what newcomers see"},
		{"room.knock", "Asked to be let in"}, {"room.admit", "Let somebody in"}, {"room.decline", "Did not let somebody in"}, {"room.epoch", "Gave a room a new key"}, {"room.destroy", "Destroyed a room"},
	}},
	{"Keys and certificate", [][2]string{
		{"keys.rotate", "Master key rotated"}, {"keys.destroy", "Master key destroyed"}, {"keys.export", "Master key exported"}, {"keys.import", "Master key imported"},
		{"cert.new", "First certificate"}, {"cert.renew", "New certificate, same key"}, {"cert.key", "New certificate and new key"}, {"backup.made", "Backup made"},
	}},
	{"Integrity", [][2]string{
		{"integrity.log", "A room's log is damaged"}, {"integrity.message", "A message is damaged"}, {"integrity.key", "A room's key, name or code is damaged"},
		{"integrity.member", "A membership was not believed"}, {"integrity.profile", "An account was changed from outside"}, {"integrity.session", "A session was not believed"}, {"integrity.passkey", "A passkey was not believed"},
		{"integrity.setting", "A room's setting was not believed"}, {"integrity.token", "A link was not believed"},
		{"integrity.audit", "The audit log is damaged"}, {"rollback.accepted", "An older database was accepted"}, {"alarm.codes", "Many wrong room codes"},
	}},
	{"Server", [][2]string{{"server.start", "Server started"}, {"server.stop", "Server stopped"}, {"audit.export", "Audit log exported"}}},
}

var auditWords = func() map[string]string {
	words := map[string]string{}
	for _, k := range auditKinds {
		for _, e := range k.events {
			words[e[0]] = e[1]
		}
	}
	return words
}()

// auditEvents returns the events that a choice of the filter stands for; ok is false for no such choice.
func auditEvents(kind string) (events []string, ok bool) {
	if _, known := auditWords[kind]; known {
		return []string{kind}, true
	}
	for _, k := range auditKinds {
		if kindValue(k.name) == kind {
			for _, e := range k.events {
				events = append(events, e[0])
			}
			return events, true
		}
	}
	return nil, kind == ""
}

func kindValue(name string) string { return strings.ReplaceAll(strings.ToLower(name), " ", "-") }

func auditChoices() []views.AuditKind {
	var list []views.AuditKind
	for _, k := range auditKinds {
		kind := views.AuditKind{Name: k.name, Value: kindValue(k.name)}
		for _, e := range k.events {
			kind.Events = append(kind.Events, views.AuditChoice{Name: e[1], Value: e[0]})
		}
		list = append(list, kind)
	}
	return list
}

func auditRows(entries []models.AuditEntry) []views.AuditRow {
	rows := make([]views.AuditRow, len(entries))
	for i, e := range entries {
		rows[i] = auditRow(e)
	}
	return rows
}

func auditRow(e models.AuditEntry) views.AuditRow {
	row := views.AuditRow{N: e.N, Damaged: e.Damaged, Missing: e.Missing, Cut: e.Cut}
	if e.Damaged != "" || e.Cut > 0 {
		return row
	}
	row.At, row.Address, row.Outcome, row.Object = e.At, e.Address, e.Outcome, auditObject(e)
	if row.What = auditWords[e.Event]; row.What == "" {
		row.What = e.Event
	}
	row.Who, row.About = person(e.Actor), person(e.About)
	if refused := strings.HasPrefix(e.Event, "login.") && e.Event != "login.ok"; refused {
		row.Who, row.About = views.Person{}, row.Who // the account that was meant is not who tried
	}
	if row.Who.Username == "" {
		row.Nobody = "the server"
		if e.Address != "" {
			row.Nobody = "somebody unknown"
		}
	}
	if e.Session != "" {
		row.Session = e.Session[:shortID]
	}
	return row
}

const shortID = 8 // digits that tell ids apart well enough

// auditObject says what an event is about, if it is no person. A room is named by the beginning of
// its id, whoever reads this.
func auditObject(e models.AuditEntry) string {
	words := strings.Fields(e.Object)
	if len(words) == 0 {
		return ""
	}
	short := words[0][:min(len(words[0]), shortID)]
	kind, rest, _ := strings.Cut(e.Event, ".")
	switch kind {
	case "session":
		return "session " + short
	case "token":
		return "link " + short
	case "room":
		text := "room " + short
		for _, word := range words[1:] {
			if _, err := models.ParseID(word); err != nil { // a person stands beside it by name
				text += " " + word
			}
		}
		return text
	case "cert":
		return "SHA-256 " + words[0][:min(len(words[0]), 16)] + "…"
	case "account", "login", "attempts", "passkey":
		return ""
	case "rollback":
		if strings.Trim(words[0], "0") == "" {
			return "the audit log"
		}
		return "room " + short
	case "integrity":
		switch rest {
		case "log", "message", "key", "member", "setting":
			if len(words) > 1 {
				return "room " + short + ", n " + words[1]
			}
		case "profile", "session", "passkey":
			return "account " + short
		}
	}
	return e.Object
}
