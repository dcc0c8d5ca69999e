package models

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// The two ceremonies of WebAuthn, https://www.w3.org/TR/webauthn-3/: a browser makes a passkey,
// a browser signs with one. Each begins with a challenge of ours, which the caller keeps in the
// session of the browser that asked, and which is good for one answer.

// Site is where a page is open in a browser.
type Site struct {
	Name   string // of the host, in lower case, without its port
	Origin string // "https://conclave.example:8443"
}

// Answer is what a browser returns for a challenge.
type Answer struct {
	Site      Site
	Challenge string // as it was given out; empty when none is open
	JSON      string // of the credential, as the browser's toJSON wrote it; empty for none
}

// ChallengeLife is how long a browser may take to answer.
const ChallengeLife = 5 * time.Minute

var (
	errNoPasskeysHere = &Error{Kind: Invalid, Msg: "Passkeys belong to a name. Open Conclave by the name of its server instead of by a number."}
	errNotAnswered    = &Error{Kind: Invalid, Msg: "The passkey came too late or was sent twice. Try again."}
	errNotMade        = &Error{Kind: Invalid, Msg: "The browser's answer could not be confirmed, so nothing was stored. Try again."}
)

// HasPasskeys reports whether passkeys can belong to a site: an address that is a number has none.
func (site Site) HasPasskeys() bool { return protocol.ValidateRPID(site.Name) == nil }

func (site Site) party() (*webauthn.WebAuthn, error) {
	if !site.HasPasskeys() {
		return nil, errNoPasskeysHere
	}
	return webauthn.New(&webauthn.Config{
		RPID: site.Name, RPDisplayName: "Conclave", RPOrigins: []string{site.Origin},
		AttestationPreference:  protocol.PreferNoAttestation, // whose device it is and who made it is nobody's business here
		AuthenticatorSelection: protocol.AuthenticatorSelection{ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationPreferred},
		Timeouts: webauthn.TimeoutsConfig{
			Login:        webauthn.TimeoutConfig{Timeout: ChallengeLife},
			Registration: webauthn.TimeoutConfig{Timeout: ChallengeLife},
		},
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore, // some password managers add what nobody asked for
	})
}

// AskPasskey begins a sign-in with a passkey: it returns what the browser needs, as JSON, and the
// challenge in it. Neither depends on who is asking, so that nobody learns from it who has passkeys.
func AskPasskey(site Site) (options, challenge string, err error) {
	party, err := site.party()
	if err != nil {
		return "", "", err
	}
	request, session, err := party.BeginDiscoverableLogin()
	if err != nil {
		return "", "", err
	}
	text, err := json.Marshal(request.Response)
	return string(text), session.Challenge, err
}

// OfferPasskey begins the making of a passkey for somebody: it returns what the browser needs, as
// JSON, and the challenge in it. A device that holds one for this site makes no second. The error
// is Invalid for a name that AddPasskey would refuse, Conflict when there are too many.
func (s *Store) OfferPasskey(ctx context.Context, user ID, name string, site Site) (options, challenge string, err error) {
	if _, err := passkeyName(name); err != nil {
		return "", "", err
	}
	party, err := site.party()
	if err != nil {
		return "", "", err
	}
	who, keys, _, err := s.passkeys(ctx, user)
	if err != nil {
		return "", "", err
	}
	if len(keys) >= passkeysPerUser {
		return "", "", errTooManyPasskeys
	}
	h := s.holder(user, who, keys, site)
	creation, session, err := party.BeginRegistration(h, webauthn.WithCredentialParameters(algorithms),
		webauthn.WithExclusions(webauthn.Credentials(h.credentials).CredentialDescriptors()))
	if err != nil {
		return "", "", err
	}
	text, err := json.Marshal(creation.Response)
	return string(text), session.Challenge, err
}

var algorithms = webauthn.CredentialParametersRecommendedL3() // EdDSA, ECDSA with P-256, RSA

// made checks the answer to an offer and returns the passkey. The challenge is used up either way.
func (s *Store) made(user ID, who sealedProfile, in Answer) (passkey, error) {
	party, err := in.Site.party()
	if err != nil {
		return passkey{}, err
	}
	if !s.answered.first(in.Challenge, s.now()) {
		return passkey{}, errNotAnswered
	}
	h := s.holder(user, who, nil, in.Site)
	credential, err := create(party, h, in)
	if err != nil {
		s.o.Log.Warn("a passkey could not be confirmed", "error", err)
		return passkey{}, errNotMade
	}
	return passkey{
		sealedPasskey: sealedPasskey{Site: in.Site.Name, Credential: credential.ID, Key: credential.PublicKey, Copied: credential.Flags.BackupEligible},
		signs:         credential.Authenticator.SignCount,
	}, nil
}

func create(party *webauthn.WebAuthn, h holder, in Answer) (*webauthn.Credential, error) {
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(in.JSON))
	if err != nil {
		return nil, err
	}
	// No statement about the device was asked for. The one that may come all the same is made with
	// the new key itself; nobody's certificates are looked at here.
	statement := parsed.Response.AttestationObject
	_, chain := statement.AttStatement["x5c"]
	if f := protocol.AttestationFormat(statement.Format); f != protocol.AttestationFormatNone && (f != protocol.AttestationFormatPacked || chain) {
		return nil, errors.New("a statement of the kind " + strconv.Quote(statement.Format))
	}
	return party.CreateCredential(h, webauthn.SessionData{
		Challenge: in.Challenge, UserID: h.handle, UserVerification: protocol.VerificationPreferred, CredParams: algorithms,
	}, parsed)
}

// check returns the credential among a person's passkeys that has signed, as it is now.
func (s *Store) check(user ID, keys []passkey, in Answer) (*webauthn.Credential, error) {
	party, err := in.Site.party()
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(in.JSON))
	if err != nil {
		return nil, err
	}
	h := s.holder(user, sealedProfile{}, keys, in.Site)
	return party.ValidateDiscoverableLogin(func(_, _ []byte) (webauthn.User, error) { return h, nil },
		webauthn.SessionData{Challenge: in.Challenge, UserVerification: protocol.VerificationPreferred}, parsed)
}

// holder is a person with the passkeys of one site, as the library wants to see one.
type holder struct {
	handle             []byte // names the person to the authenticator, and tells nobody else anything
	username, fullName string
	credentials        []webauthn.Credential
}

func (s *Store) holder(user ID, who sealedProfile, keys []passkey, site Site) holder {
	h := holder{handle: s.service.Index("passkey-user", string(user[:])), username: who.Username, fullName: who.FullName}
	for _, k := range keys {
		if k.Site == site.Name {
			h.credentials = append(h.credentials, webauthn.Credential{
				ID: k.Credential, PublicKey: k.Key,
				Flags:         webauthn.CredentialFlags{BackupEligible: k.Copied},
				Authenticator: webauthn.Authenticator{SignCount: k.signs},
			})
		}
	}
	return h
}

func (h holder) WebAuthnID() []byte                         { return h.handle }
func (h holder) WebAuthnName() string                       { return h.username }
func (h holder) WebAuthnDisplayName() string                { return h.fullName }
func (h holder) WebAuthnCredentials() []webauthn.Credential { return h.credentials }

// answered are challenges that have had their answer. A session alone cannot know: of two
// requests at once both find the challenge in it.
type answered struct {
	mu   sync.Mutex
	when map[string]int64 // unix milliseconds
}

// once uses the challenge of an answer up: one that was answered before makes it none.
func (s *Store) once(in Answer) Answer {
	if in.JSON != "" && !s.answered.first(in.Challenge, s.now()) {
		return Answer{}
	}
	return in
}

// first uses a challenge up. It reports whether this is its first answer.
func (a *answered) first(challenge string, now int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.when == nil {
		a.when = map[string]int64{}
	}
	maps.DeleteFunc(a.when, func(_ string, when int64) bool { return now-when > ChallengeLife.Milliseconds() })
	if _, again := a.when[challenge]; again || challenge == "" {
		return false
	}
	a.when[challenge] = now
	return true
}
