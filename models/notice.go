package models

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Events that are told to the audit log by others than this package.
const (
	eventStart = "server.start"
	eventStop  = "server.stop"

	EventKeyExport = "keys.export"
	EventKeyImport = "keys.import"
	EventBackup    = "backup.made"

	eventCertNew   = "cert.new"
	eventCertRenew = "cert.renew"
	eventCertKey   = "cert.key"
)

// Serving writes down that the server has started, with its version and its configuration, which
// holds no secret. Close writes down that it has stopped.
func (s *Store) Serving(version, configuration string) {
	s.serving = true
	s.record(Audit{Event: eventStart, Object: version, Outcome: configuration})
}

// NoteCertificate writes down which certificate is in use, given the fingerprints of it and of its
// public key, unless it is the one that was written down last. So whatever replaced it is noticed,
// also while no server ran.
func (s *Store) NoteCertificate(ctx context.Context, certificate, key string, own bool) {
	certificate, key = strings.ReplaceAll(certificate, ":", ""), strings.ReplaceAll(key, ":", "")
	maker := "put there by the operator"
	if own {
		maker = "made by Conclave"
	}
	err := s.act(ctx, func(t *act) error {
		var last string
		err := t.db.Statement.ConnPool.QueryRowContext(ctx, `SELECT CAST(object AS TEXT) FROM audit_log
			WHERE event IN ('cert.new', 'cert.renew', 'cert.key') ORDER BY n DESC LIMIT 1`).Scan(&last)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		lastCertificate, lastKey, _ := strings.Cut(last, " ")
		event := eventCertKey
		switch {
		case lastCertificate == certificate && lastKey == key:
			return nil
		case last == "":
			event = eventCertNew
		case lastKey == key:
			event = eventCertRenew
		}
		return t.audit(Audit{Event: event, Object: certificate + " " + key, Outcome: maker})
	})
	if err != nil {
		s.o.Log.Error("the certificate could not be written to the audit log", "error", err)
	}
}

// Tell lets the server that runs on the folder write down what a command beside it has done, which
// changed nothing. Where none runs nothing is written down: whoever can read the files there needs
// no command for it.
func Tell(o Options, event string) error {
	_, err := tell(o, event, "")
	return err
}

// tell reports whether there is a server that was told.
func tell(o Options, event, object string) (told bool, err error) {
	_, told, err = talk(o.Dir, request{commandTell, strings.TrimSpace(event + " " + object)}, 10*time.Second)
	return told, err
}

// told writes down what a command has told.
func (s *Store) told(ctx context.Context, what string) error {
	event, object, _ := strings.Cut(what, " ")
	switch {
	case event == EventKeyExport && object == "":
		object = s.masters.now().Name()
	case event == EventKeyImport && keyNameForm.MatchString(object):
	case event == EventBackup && object == "":
	default:
		return fmt.Errorf("this server does not know the event %q", what)
	}
	return s.act(ctx, func(t *act) error { return t.audit(Audit{Event: event, Object: object, Outcome: "done"}) })
}
