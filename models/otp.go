package models

import (
	"crypto/rand"
	"encoding/base32"
	"regexp"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"
)

// TOTP as in RFC 6238: HMAC-SHA-1, six digits, time steps of 30 seconds, one step of tolerance
// on either side. The library neither refuses an empty secret nor remembers a code, so the
// length is checked here and the step is stored by whoever accepts one (acceptStep).
const (
	otpSecretSize = 20 // bytes
	otpPeriod     = 30 // seconds
	otpSkew       = 1  // steps
)

var (
	otpText = base32.StdEncoding.WithPadding(base32.NoPadding)
	otpCode = regexp.MustCompile(`^[0-9]{6}$`)
)

// NewOTPSecret returns a fresh secret as an authenticator takes it: 32 letters and digits of base 32.
func NewOTPSecret() string {
	secret := make([]byte, otpSecretSize)
	rand.Read(secret)
	return otpText.EncodeToString(secret)
}

// OTPURL returns the otpauth address of a secret, for a QR code.
func OTPURL(secret, username string) (string, error) {
	raw, err := otpText.DecodeString(secret)
	if err != nil {
		return "", err
	}
	key, err := totp.Generate(totp.GenerateOpts{
		Issuer: "Conclave", AccountName: username, Secret: raw,
		Period: otpPeriod, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1,
	})
	if err != nil {
		return "", err
	}
	return key.URL(), nil
}

// matchStep returns the time step whose code this is. It looks at every step that could be
// meant, whether or not an earlier one fits, and at steps after last only.
func matchStep(secret []byte, code string, now time.Time, last int64) (step int64, ok bool) {
	if len(secret) != otpSecretSize || !otpCode.MatchString(code) {
		return 0, false
	}
	text := otpText.EncodeToString(secret)
	current := now.Unix() / otpPeriod
	for s := current - otpSkew; s <= current+otpSkew; s++ {
		valid, err := hotp.ValidateCustom(code, uint64(s), text, hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err == nil && valid && s > last && !ok {
			step, ok = s, true
		}
	}
	return step, ok
}
