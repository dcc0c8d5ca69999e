package models

// Passwords: what is accepted, and how it is kept.
//
// Accepted are 12 to 128 code points in at most 512 bytes that are neither common nor the account's own names;
// no rules of composition. Kept is an argon2id hash as a PHC string (which the caller seals). Hashing costs
// 64 MiB and about 100 ms, so only two run at a time, a few wait, and the rest is told to come back: a flood of
// sign-ins may slow sign-ins, not the server. Whatever is cheap to refuse is refused before that.

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

const (
	minPassword      = 12  // code points
	maxPassword      = 128 // code points
	maxPasswordBytes = 512
)

// commonPasswords are the 20,000 most frequent passwords of 12 characters or more: lower case, sorted by bytes,
// each ended by a newline. They are taken from "10_million_password_list_top_1M" of OWASP SecLists by Daniel
// Miessler and Jason Haddix, https://github.com/danielmiessler/SecLists, and stay under the licence they came
// with there, CC BY-SA 3.0 (https://creativecommons.org/licenses/by-sa/3.0/). Changed: selected, lower-cased, sorted.
//
//go:embed passwords.txt
var commonPasswords string

// normalPassword gives the one form (NFC) in which a password is judged and hashed, however it was typed.
func normalPassword(password string) string {
	return norm.NFC.String(password)
}

// checkPassword says why a new password cannot be taken (Invalid); nil when it can. It may
// not be one of about (user name, full name, host name; empty ones are passed over) or a repetition of one.
func checkPassword(password string, about ...string) error {
	if len(password) > 4*maxPasswordBytes { // before any work; no text shrinks further than that by NFC
		return errPasswordLong
	}
	if !utf8.ValidString(password) {
		return invalid("password", "This password holds characters that cannot be read; please type it again.")
	}
	password = normalPassword(password)
	switch n := utf8.RuneCountInString(password); {
	case n < minPassword:
		return invalid("password", "Use at least 12 characters; four or five random words work well.")
	case n > maxPassword || len(password) > maxPasswordBytes:
		return errPasswordLong
	}
	folded := strings.ToLower(password)
	if isCommon(folded) {
		return invalid("password", "This password is on the lists that attackers try first; four or five random words work well.")
	}
	for _, word := range append([]string{"conclave"}, about...) {
		if isRepetition(folded, strings.ToLower(normalPassword(word))) {
			return invalid("password", "This password is made of a name that others know; four or five random words work well.")
		}
	}
	return nil
}

var errPasswordLong = invalid("password", "Use at most 128 characters; this password is too long.")

// isCommon searches the list by halves, each time on the line around the middle.
func isCommon(password string) bool {
	for list := commonPasswords; list != ""; {
		middle := len(list) / 2
		start := strings.LastIndexByte(list[:middle], '\n') + 1
		end := middle + strings.IndexByte(list[middle:], '\n')
		switch strings.Compare(password, list[start:end]) {
		case 0:
			return true
		case -1:
			list = list[:start]
		default:
			list = list[end+1:]
		}
	}
	return false
}

// isRepetition says whether password is word, once or more.
func isRepetition(password, word string) bool {
	return word != "" && strings.ReplaceAll(password, word, "") == ""
}

// errBusy means that the hasher's queue is full: nothing was judged, and a retry in two seconds may do.
var errBusy = errors.New("too many logins at once")

// A hasher makes and checks password hashes, two at a time.
type hasher struct {
	admitted chan struct{} // those at work and those waiting
	working  chan struct{}
	today    phc // the parameters of new hashes
	least    phc // the weakest that are accepted
	nobody   phc // what verifyNobody compares with
}

// newHasher lets queue callers wait while two are at work. It accepts what is weaker than phcLeast only where
// the hashes of today are weaker, which no server's are.
func newHasher(queue int, today phc) *hasher {
	least := phcLeast
	least.memory, least.time = min(least.memory, today.memory), min(least.time, today.time)
	nobody := today
	nobody.salt, nobody.sum = make([]byte, phcSalt), make([]byte, phcSum)
	rand.Read(nobody.sum) // never fails, and no password is known that gives it
	return &hasher{
		admitted: make(chan struct{}, 2+queue),
		working:  make(chan struct{}, 2),
		today:    today,
		least:    least,
		nobody:   nobody,
	}
}

// hash makes the PHC string of a password that checkPassword has accepted. Errors: errBusy, or ctx's while waiting.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	p := h.today
	p.salt = make([]byte, phcSalt)
	rand.Read(p.salt) // never fails
	sum, err := h.sum(ctx, p, phcSum, password)
	if err != nil {
		return "", err
	}
	p.sum = sum
	return p.String(), nil
}

// verify says whether password is the one that encoded was made of. Errors: errBusy, ctx's while waiting, or a
// PHC string that is damaged or outside the parameters ever used.
func (h *hasher) verify(ctx context.Context, encoded, password string) (bool, error) {
	p, err := h.parse(encoded)
	if err != nil {
		return false, err
	}
	sum, err := h.sum(ctx, p, len(p.sum), password)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(sum, p.sum) == 1, nil
}

// verifyNobody does the work of verify for a user who does not exist, so that the two take the same time.
func (h *hasher) verifyNobody(ctx context.Context, password string) error {
	_, err := h.verify(ctx, h.nobody.String(), password)
	return err
}

// stale says whether encoded should be made anew at the next chance: its parameters are not today's.
func (h *hasher) stale(encoded string) bool {
	p, err := h.parse(encoded)
	return err != nil || p.memory != h.today.memory || p.time != h.today.time || p.threads != h.today.threads ||
		len(p.salt) != phcSalt || len(p.sum) != phcSum
}

func (h *hasher) sum(ctx context.Context, p phc, size int, password string) ([]byte, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return argon2.IDKey([]byte(normalPassword(password)), p.salt, p.time, p.memory, p.threads, uint32(size)), nil
}

// enter waits for one of the two places of work; leave gives it back.
func (h *hasher) enter(ctx context.Context) (leave func(), err error) {
	select {
	case h.admitted <- struct{}{}:
	default:
		return nil, errBusy
	}
	select {
	case h.working <- struct{}{}:
		return func() { <-h.working; <-h.admitted }, nil
	case <-ctx.Done():
		<-h.admitted
		return nil, ctx.Err()
	}
}

// A phc is an argon2id hash with all that is needed to make it again; memory is in KiB.
type phc struct {
	memory, time uint32
	threads      uint8
	salt, sum    []byte
}

// Parameters (memory in KiB): those of new hashes, the weakest that are accepted, and those of the hashes that
// tests make by the hundred, which would be guessed at once.
var (
	phcToday = phc{memory: 65536, time: 3, threads: 1}
	phcLeast = phc{memory: 19456, time: 2, threads: 1}
	phcTests = phc{memory: 64, time: 1, threads: 1}
)

const (
	phcSalt = 16
	phcSum  = 32
)

func (p phc) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.time, p.threads, b64(p.salt), b64(p.sum))
}

// parse reads what String writes and nothing else. Its bounds keep a planted string from making a hash
// that is quickly guessed, or one that takes the server's memory.
func (h *hasher) parse(encoded string) (phc, error) {
	var p phc
	var salt, sum string
	fields := strings.NewReplacer("$", " ", ",", " ").Replace(encoded)
	_, err := fmt.Sscanf(fields, " argon2id v=19 m=%d t=%d p=%d %s %s", &p.memory, &p.time, &p.threads, &salt, &sum)
	if err == nil {
		p.salt, err = base64.RawStdEncoding.DecodeString(salt)
	}
	if err == nil {
		p.sum, err = base64.RawStdEncoding.DecodeString(sum)
	}
	switch {
	case err != nil || p.String() != encoded:
		return phc{}, errors.New("a stored password hash is damaged")
	case p.memory < h.least.memory, p.time < h.least.time, p.threads < 1, len(p.salt) < 8, len(p.sum) < 16:
		return phc{}, errors.New("a stored password hash is weaker than any that Conclave makes")
	case p.memory > 1<<20, p.time > 10, p.threads > 16, len(p.salt) > 64, len(p.sum) > 64:
		return phc{}, errors.New("a stored password hash would cost more than any that Conclave makes")
	}
	return p, nil
}
