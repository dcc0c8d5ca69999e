package models

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"

	"gorm.io/gorm"
)

const (
	setupPurpose = "setup"
	setupLife    = 24 * time.Hour
)

var errBadToken = &Error{Kind: Invalid, Field: "token", Msg: "This link has been used or has run out. The server prints a new one at its next start."}

// SetupToken makes the one-time token (128 bits) that lets the administrator register, and
// forgets the one before it. It returns "" once there is an administrator. Only a keyed hash is stored.
func (s *Store) SetupToken(ctx context.Context) (string, error) {
	raw := make([]byte, 16)
	rand.Read(raw)
	token := hex.EncodeToString(raw)
	err := s.write.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		var used int
		if err := tx.Raw("SELECT count(*) FROM tokens WHERE purpose = ? AND used_ms IS NOT NULL", setupPurpose).Scan(&used).Error; err != nil {
			return err
		}
		if used > 0 {
			token = ""
			return nil
		}
		if err := tx.Exec("DELETE FROM tokens WHERE purpose = ?", setupPurpose).Error; err != nil {
			return err
		}
		// The hash is not the first value: gorm takes a slice behind a parenthesis for a list.
		return tx.Exec("INSERT INTO tokens (purpose, hash, expires_ms) VALUES (?, ?, ?)",
			setupPurpose, s.service.TokenHash(setupPurpose, token), s.o.Now().Add(setupLife).UnixMilli()).Error
	})
	return token, err
}

func (s *Store) goodToken(db *gorm.DB, hash []byte) (bool, error) {
	var count int
	err := db.Raw("SELECT count(*) FROM tokens WHERE hash = ? AND purpose = ? AND expires_ms > ? AND used_ms IS NULL", hash, setupPurpose, s.now()).Scan(&count).Error
	return count == 1, err
}

// normalToken takes a token out of whatever was pasted: the token alone, or the whole link.
func normalToken(s string) string {
	s = strings.TrimSpace(s)
	return strings.ToLower(s[strings.LastIndexAny(s, "#=")+1:])
}
