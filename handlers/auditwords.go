package handlers

import (
	"strings"

	"conclave/models"
	"conclave/views"
)

// auditEvents returns the events that a choice of the filter stands for; ok is false for no such choice.
func auditEvents(kind string) (events []string, ok bool) {
	if _, known := views.AuditWords[kind]; known {
		return []string{kind}, true
	}
	for _, k := range views.AuditKinds {
		if k.Value == kind {
			for _, e := range k.Events {
				events = append(events, e.Value)
			}
			return events, true
		}
	}
	return nil, kind == ""
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
	if row.What = views.AuditWords[e.Event]; row.What == "" {
		row.What = e.Event
	}
	row.Who, row.About = person(e.Actor), person(e.About)
	if refused := strings.HasPrefix(e.Event, "login.") && e.Event != "login.ok"; refused {
		row.Who, row.About = views.Person{}, row.Who // the account that was meant is not who tried
	}
	if row.Who.Username == "" {
		row.Nobody = views.AuditServer
		if e.Address != "" {
			row.Nobody = views.AuditNobody
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
		return views.AuditSessionObject.With(short)
	case "token":
		return views.AuditLinkObject.With(short)
	case "room":
		text := views.AuditRoomObject.With(short)
		for _, word := range words[1:] {
			if _, err := models.ParseID(word); err != nil { // a person stands beside it by name
				text += " " + word
			}
		}
		return text
	case "cert":
		return views.AuditCertificateObject.With(words[0][:min(len(words[0]), 16)])
	case "account", "login", "attempts", "passkey":
		return ""
	case "rollback":
		if strings.Trim(words[0], "0") == "" {
			return views.AuditTheLog
		}
		return views.AuditRoomObject.With(short)
	case "integrity":
		switch rest {
		case "log", "message", "key", "member", "setting":
			if len(words) > 1 {
				return views.AuditEntryObject.With(short, words[1])
			}
		case "profile", "session", "passkey":
			return views.AuditAccountObject.With(short)
		}
	}
	return e.Object
}
