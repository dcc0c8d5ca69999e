package views

// AuditKinds are the kinds of events with every event of theirs, in words.
var AuditKinds = []AuditKind{
	{Name: "Logging in", Value: "logging-in", Events: []AuditChoice{
		{Name: "Logged in", Value: "login.ok"},
		{Name: "Login refused", Value: "login.fail"},
		{Name: "Login refused: right password, wrong code", Value: "login.code"},
		{Name: "Has to wait before the next try", Value: "login.wait"},
		{Name: "Gave password and code again", Value: "sudo"},
		{Name: "Ended the wait of an account", Value: "attempts.lift"},
		{Name: "A passkey may have been copied", Value: "passkey.clone"},
	}},
	{Name: "Accounts", Value: "accounts", Events: []AuditChoice{
		{Name: "Registered", Value: "account.register"},
		{Name: "Changed the name", Value: "account.profile"},
		{Name: "Changed the email address", Value: "account.email"},
		{Name: "Changed the password", Value: "account.password"},
		{Name: "Set up a new authenticator", Value: "account.totp"},
		{Name: "Made new recovery codes", Value: "account.codes"},
		{Name: "Used a recovery code", Value: "account.recovery"},
		{Name: "Password hashed anew", Value: "account.rehash"},
		{Name: "Added a passkey", Value: "account.passkey"},
		{Name: "Renamed a passkey", Value: "account.passkey-name"},
		{Name: "Removed a passkey", Value: "account.passkey-remove"},
		{Name: "Disabled an account", Value: "account.disable"},
		{Name: "Enabled an account", Value: "account.enable"},
		{Name: "Made an administrator", Value: "account.promote"},
		{Name: "Removed as administrator", Value: "account.demote"},
		{Name: "Made a link for a new password", Value: "account.reset-link"},
		{Name: "Set a new password through a link", Value: "account.reset"},
		{Name: "Deleted an account", Value: "account.delete"},
	}},
	{Name: "Sessions", Value: "sessions", Events: []AuditChoice{
		{Name: "Session ended", Value: "session.end"},
	}},
	{Name: "Invitations and links", Value: "invitations-and-links", Events: []AuditChoice{
		{Name: "Made a link", Value: "token.create"},
		{Name: "Used a link", Value: "token.use"},
		{Name: "Revoked a link", Value: "token.revoke"},
	}},
	{Name: "Rooms", Value: "rooms", Events: []AuditChoice{
		{Name: "Created a room", Value: "room.create"},
		{Name: "Joined a room", Value: "room.join"},
		{Name: "Left a room", Value: "room.leave"},
		{Name: "Removed from a room", Value: "room.remove"},
		{Name: "Banned from a room", Value: "room.ban"},
		{Name: "Lifted a ban", Value: "room.unban"},
		{Name: "Changed a role in a room", Value: "room.role"},
		{Name: "Handed a room over", Value: "room.own"},
		{Name: "Changed a room code", Value: "room.code"},
		{Name: "Changed what newcomers see", Value: "room.history"},
		{Name: "Asked to be let in", Value: "room.knock"},
		{Name: "Let somebody in", Value: "room.admit"},
		{Name: "Did not let somebody in", Value: "room.decline"},
		{Name: "Gave a room a new key", Value: "room.epoch"},
		{Name: "Destroyed a room", Value: "room.destroy"},
	}},
	{Name: "Keys and certificate", Value: "keys-and-certificate", Events: []AuditChoice{
		{Name: "Master key rotated", Value: "keys.rotate"},
		{Name: "Master key destroyed", Value: "keys.destroy"},
		{Name: "Master key exported", Value: "keys.export"},
		{Name: "Master key imported", Value: "keys.import"},
		{Name: "First certificate", Value: "cert.new"},
		{Name: "New certificate, same key", Value: "cert.renew"},
		{Name: "New certificate and new key", Value: "cert.key"},
		{Name: "Backup made", Value: "backup.made"},
	}},
	{Name: "Integrity", Value: "integrity", Events: []AuditChoice{
		{Name: "A room's log is damaged", Value: "integrity.log"},
		{Name: "A message is damaged", Value: "integrity.message"},
		{Name: "A room's key, name or code is damaged", Value: "integrity.key"},
		{Name: "A membership was not believed", Value: "integrity.member"},
		{Name: "An account was changed from outside", Value: "integrity.profile"},
		{Name: "A session was not believed", Value: "integrity.session"},
		{Name: "Passkeys were not believed", Value: "integrity.passkey"},
		{Name: "A room's setting was not believed", Value: "integrity.setting"},
		{Name: "A link was not believed", Value: "integrity.token"},
		{Name: "The audit log is damaged", Value: "integrity.audit"},
		{Name: "An older database was accepted", Value: "rollback.accepted"},
		{Name: "Many wrong room codes", Value: "alarm.codes"},
	}},
	{Name: "Server", Value: "server", Events: []AuditChoice{
		{Name: "Server started", Value: "server.start"},
		{Name: "Server stopped", Value: "server.stop"},
		{Name: "Audit log exported", Value: "audit.export"},
	}},
}

// AuditWords are the words for each event.
var AuditWords = func() map[string]string {
	words := map[string]string{}
	for _, k := range AuditKinds {
		for _, e := range k.Events {
			words[e.Value] = e.Name
		}
	}
	return words
}()
