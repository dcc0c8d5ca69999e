package models

import (
	"context"
	"database/sql"
	"fmt"
)

// migrations are applied in order, each once; PRAGMA user_version counts them. Never change
// one that has been released: add another.
//
// Times are integer unix milliseconds. Envelopes (models/cipher/FORMAT.md) are
// BLOBs of ordinary rowid tables and stand in no index, because pages of an index or of a
// WITHOUT ROWID table leave copies behind that secure_delete does not overwrite.
var migrations = []string{`
CREATE TABLE meta (
	name  TEXT PRIMARY KEY,      -- 'check', 'service': envelopes of kind 05
	value BLOB NOT NULL
);
CREATE TABLE users (
	id             BLOB PRIMARY KEY,
	username_index BLOB NOT NULL UNIQUE,
	email_index    BLOB NOT NULL UNIQUE,
	profile        BLOB NOT NULL,     -- kind 09; binds id and revision
	revision       INTEGER NOT NULL,
	password       BLOB NOT NULL,     -- kind 06; a PHC string
	totp           BLOB NOT NULL,     -- kind 04; 20 bytes
	totp_last_step INTEGER NOT NULL,  -- RFC 6238 time step of the last code that was accepted
	created_ms     INTEGER NOT NULL,
	disabled_ms    INTEGER
);
CREATE TABLE recovery_codes (
	user_id BLOB NOT NULL REFERENCES users (id),
	hash    BLOB NOT NULL UNIQUE
);
CREATE INDEX recovery_codes_user ON recovery_codes (user_id);
CREATE TABLE registrations (          -- not users yet: a code has still to be confirmed
	id             BLOB PRIMARY KEY,   -- becomes the user's id
	username_index BLOB NOT NULL UNIQUE,
	email_index    BLOB NOT NULL UNIQUE,
	profile        BLOB NOT NULL,
	password       BLOB NOT NULL,
	totp           BLOB NOT NULL,
	token          BLOB,               -- the set-up token it came with
	attempts       INTEGER NOT NULL,
	expires_ms     INTEGER NOT NULL
);
CREATE TABLE tokens (                 -- set-up links; keyed hashes only
	hash       BLOB PRIMARY KEY,
	purpose    TEXT NOT NULL,
	expires_ms INTEGER NOT NULL,
	used_ms    INTEGER
);
CREATE TABLE sessions (
	token_hash BLOB PRIMARY KEY,
	user_id    BLOB NOT NULL,          -- 16 zero bytes before anybody signed in
	data       BLOB NOT NULL,          -- kind 10; binds token hash, user and auth_ms; empty once revoked
	auth_ms    INTEGER NOT NULL,       -- when the person signed in: start of the absolute lifetime
	seen_ms    INTEGER NOT NULL,       -- last activity: start of the idle limit
	revoked_ms INTEGER                 -- a tombstone: never revived
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_auth ON sessions (auth_ms);
CREATE TABLE rooms (
	id          BLOB PRIMARY KEY,
	name        BLOB NOT NULL,         -- kind 03
	name_n      INTEGER NOT NULL,      -- the log entry that set it
	code        BLOB NOT NULL,         -- kind 07
	code_n      INTEGER NOT NULL,
	code_index  BLOB UNIQUE,
	incarnation BLOB NOT NULL,         -- 8 random bytes: which history the numbers belong to
	epoch       INTEGER NOT NULL,
	epoch_stale INTEGER NOT NULL,      -- somebody left: the next post opens a new epoch
	head_n      INTEGER NOT NULL,
	head_mac    BLOB NOT NULL
);
CREATE TABLE room_keys (
	room_id BLOB NOT NULL REFERENCES rooms (id),
	epoch   INTEGER NOT NULL,
	wrapped BLOB NOT NULL              -- kind 05
);
CREATE UNIQUE INDEX room_keys_epoch ON room_keys (room_id, epoch);
CREATE TABLE memberships (
	room_id  BLOB NOT NULL REFERENCES rooms (id),
	user_id  BLOB NOT NULL REFERENCES users (id),
	role     TEXT NOT NULL,
	entry_n  INTEGER NOT NULL,         -- the latest log entry about this membership
	joined_n INTEGER NOT NULL          -- the log entry of the latest join
);
CREATE UNIQUE INDEX memberships_room_user ON memberships (room_id, user_id);
CREATE INDEX memberships_user ON memberships (user_id);
CREATE TABLE room_log (
	room_id BLOB NOT NULL REFERENCES rooms (id),
	n       INTEGER NOT NULL,
	op      INTEGER NOT NULL,
	target  BLOB NOT NULL,
	actor   BLOB NOT NULL,
	epoch   INTEGER NOT NULL,
	time_ms INTEGER NOT NULL,
	posts   INTEGER NOT NULL,
	payload BLOB NOT NULL,
	mac     BLOB NOT NULL
);
CREATE UNIQUE INDEX room_log_n ON room_log (room_id, n);
CREATE INDEX room_log_target ON room_log (room_id, target, n);
CREATE TABLE messages (
	room_id    BLOB NOT NULL REFERENCES rooms (id),
	n          INTEGER NOT NULL,
	author     BLOB NOT NULL,
	created_ms INTEGER NOT NULL,
	revision   INTEGER NOT NULL,
	client_id  TEXT,                   -- chosen by the sender: the same one never posts twice
	envelope   BLOB NOT NULL           -- kind 01
);
CREATE UNIQUE INDEX messages_n ON messages (room_id, n);
CREATE UNIQUE INDEX messages_client ON messages (room_id, author, client_id) WHERE client_id IS NOT NULL;
`, `
ALTER TABLE rooms ADD COLUMN state INTEGER NOT NULL DEFAULT 0;       -- 0 open, 1 being destroyed, 2 destroyed
ALTER TABLE rooms DROP COLUMN epoch_stale;                           -- the log knows it
CREATE INDEX room_log_epochs ON room_log (room_id, n) WHERE op = 14; -- when an epoch began, and whether somebody
CREATE INDEX room_log_leaves ON room_log (room_id, n) WHERE op = 3;  -- left since, without a scan
CREATE TABLE audit_log (
	n       INTEGER PRIMARY KEY,
	time_ms INTEGER NOT NULL,
	event   TEXT NOT NULL,
	actor   BLOB NOT NULL,             -- user id; zero: the server itself or somebody unknown
	session BLOB NOT NULL,             -- session hash; empty: none
	address TEXT NOT NULL,
	object  TEXT NOT NULL,             -- what it is about: an id, "room id n", a key's name
	outcome TEXT NOT NULL,
	mac     BLOB NOT NULL
);
`, `
CREATE TABLE marks (                  -- what members have read; no key guards them
	room_id BLOB NOT NULL REFERENCES rooms (id),
	user_id BLOB NOT NULL REFERENCES users (id),
	n       INTEGER NOT NULL,          -- up to this log entry
	posts   INTEGER NOT NULL           -- and how many posts there were up to it
);
CREATE UNIQUE INDEX marks_room_user ON marks (room_id, user_id);
INSERT INTO marks (room_id, user_id, n, posts)   -- nothing is unread to begin with
	SELECT m.room_id, m.user_id, r.head_n, l.posts FROM memberships m
	JOIN rooms r ON r.id = m.room_id JOIN room_log l ON l.room_id = m.room_id AND l.n = r.head_n;
ALTER TABLE users ADD COLUMN shows_typing INTEGER NOT NULL DEFAULT 1; -- others are told while the user is writing
`, `
CREATE INDEX room_log_changes ON room_log (room_id, target, n) WHERE op IN (8, 9); -- the latest about each message, without a look at its post
`, `
CREATE TABLE attempts (               -- failures, and until when they make the next try wait
	key        BLOB PRIMARY KEY,       -- keyed hash of an account, of a name that is nobody's, of a device, of an address
	user_id    BLOB,                   -- whose it is, if anybody's: such a row is not dropped to make room
	failures   INTEGER NOT NULL,       -- since the last success
	guessed    INTEGER NOT NULL,       -- how many of them came with the right password
	since_ms   INTEGER NOT NULL,       -- the first of them
	last_ms    INTEGER NOT NULL,
	until_ms   INTEGER NOT NULL,       -- no try before this
	recent     BLOB NOT NULL DEFAULT x'' -- how many in each of the last minutes, where those count
);
CREATE INDEX attempts_nobody ON attempts (last_ms) WHERE user_id IS NULL;
CREATE INDEX attempts_user ON attempts (user_id);
CREATE TABLE devices (                -- browsers that somebody has signed in from
	hash       BLOB PRIMARY KEY,       -- keyed, of the cookie
	user_id    BLOB NOT NULL REFERENCES users (id),
	created_ms INTEGER NOT NULL,
	seen_ms    INTEGER NOT NULL
);
CREATE INDEX devices_user ON devices (user_id);
CREATE TABLE passkeys (
	id         BLOB PRIMARY KEY,
	user_id    BLOB NOT NULL REFERENCES users (id),
	handle     BLOB NOT NULL UNIQUE,   -- blind index of the credential's id
	credential BLOB NOT NULL,          -- kind 08; binds id and user
	signs      INTEGER NOT NULL,       -- the authenticator's own count
	created_ms INTEGER NOT NULL,
	used_ms    INTEGER NOT NULL
);
CREATE INDEX passkeys_user ON passkeys (user_id);
ALTER TABLE users ADD COLUMN login_ms INTEGER NOT NULL DEFAULT 0;      -- the last sign-in
ALTER TABLE users ADD COLUMN login_address TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN user_id BLOB;                            -- of a reset: whose password
ALTER TABLE tokens ADD COLUMN created_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tokens ADD COLUMN created_by BLOB NOT NULL DEFAULT x'';
ALTER TABLE tokens ADD COLUMN most INTEGER NOT NULL DEFAULT 1;         -- how often it can be used
ALTER TABLE tokens ADD COLUMN uses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tokens ADD COLUMN revoked_ms INTEGER;
ALTER TABLE tokens ADD COLUMN seal BLOB NOT NULL DEFAULT x'';          -- keyed hash over its terms: purpose, user, expiry, most
ALTER TABLE registrations DROP COLUMN token;                           -- stands in the sealed profile
ALTER TABLE sessions ADD COLUMN news BLOB;                             -- names a session that began on a new device, until the person has seen it
ALTER TABLE rooms ADD COLUMN history INTEGER NOT NULL DEFAULT 0;       -- 0: newcomers see all; 1: from when they joined
ALTER TABLE rooms ADD COLUMN history_n INTEGER NOT NULL DEFAULT 0;     -- the log entry that set it
CREATE INDEX room_log_settings ON room_log (room_id, n) WHERE op = 13; -- the latest one without a scan
CREATE TABLE knocks (                 -- who waits to be let in; grants nothing
	room_id    BLOB NOT NULL REFERENCES rooms (id),
	user_id    BLOB NOT NULL REFERENCES users (id),
	created_ms INTEGER NOT NULL,
	seal       BLOB NOT NULL           -- keyed hash of the above and of the code: nobody knocks without it
);
CREATE UNIQUE INDEX knocks_room_user ON knocks (room_id, user_id);
CREATE INDEX knocks_user ON knocks (user_id);
CREATE INDEX room_log_codes ON room_log (room_id, n) WHERE op = 12; -- whether a code is the latest
CREATE INDEX room_log_joins ON room_log (room_id, n) WHERE op = 2;  -- how often it was used
DROP INDEX room_log_leaves;
CREATE INDEX room_log_leaves ON room_log (room_id, n) WHERE op IN (3, 4, 5); -- whether somebody left, was removed or banned since
CREATE INDEX audit_log_event ON audit_log (event, n);
CREATE INDEX audit_log_actor ON audit_log (actor, event, n);
CREATE INDEX audit_log_object ON audit_log (object);   -- what was done to a person: it begins with the id
`, `
DROP INDEX audit_log_object;
CREATE INDEX audit_log_first ON audit_log (substr(object, 1, 32), event, n) WHERE length(object) >= 32;   -- what was done to an account
CREATE INDEX audit_log_second ON audit_log (substr(object, 34, 32), event, n) WHERE length(object) >= 65; -- and to somebody in a room, or to a session
`}

// anchorsSince is the first schema whose databases always have anchors beside them.
const anchorsSince = 2

// migrate brings the database to the newest schema and returns which one it had, 0 for none.
func migrate(ctx context.Context, db *sql.DB) (version int, err error) {
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return 0, err
	}
	if version > len(migrations) {
		return 0, fmt.Errorf("the database was written by a newer Conclave (schema %d, this program knows %d): use that one", version, len(migrations))
	}
	for i := version; i < len(migrations); i++ {
		if err := migrateTo(ctx, db, i+1); err != nil {
			return 0, fmt.Errorf("migration %d: %w", i+1, err)
		}
	}
	return version, nil
}

func migrateTo(ctx context.Context, db *sql.DB, version int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, migrations[version-1]); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version)); err != nil {
		return err
	}
	return tx.Commit()
}
