package handlers_test

import (
	"testing"

	"github.com/chromedp/cdproto/webauthn"
)

// holdsPasskeys gives the browser a device that keeps passkeys and whose owner always agrees.
func (b *tab) holdsPasskeys() {
	b.t.Helper()
	b.do("plug in a device",
		command(webauthn.Enable, webauthn.EnableParams{}),
		command(webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		}}),
	)
}

func TestBrowserAPasskeyIsMadeAndLogsIn(t *testing.T) {
	t.Parallel()
	o := openOffice(t, named)
	ada := o.register("ada", "Ada Lovelace")
	ada.confirm("/account/passkeys").wantRedirect("/account/passkeys")
	b := ada.browserOf()
	b.holdsPasskeys()
	b.expectStatus(401, "/session") // the page asks when its session has ended with the logout
	b.open("/account/passkeys")
	b.at("/account/passkeys")

	b.click("passkey-step button") // a name is missing
	b.fill("#name", "My phone")
	b.press("\r")
	b.exists(".passkeys li")
	b.exists(".notice")
	if got := b.text(".passkey-name"); got != "My phone" {
		t.Errorf("the list says %q", got)
	}

	// The same device is not asked twice for the same account.
	b.fill("#name", "My phone again")
	b.click("passkey-step button")
	b.exists("[data-trouble=known]:not([hidden])")
	if b.value("#name") != "My phone again" {
		t.Error("the name is lost")
	}

	b.logsOut()
	b.at("/login")
	b.fill("#username", "ada")
	b.fill("#password", "wrong lantern over the harbour")
	b.expectStatus(422, "/login")
	b.click("passkey-step button")
	b.exists("#login .problem")
	b.fill("#password", password)
	b.click("passkey-step button")
	b.at("/rooms")
	b.open("/account/passkeys")
	b.exists(".passkeys li")

	// It confirms what matters, too.
	b.open("/sudo?next=/account/passkeys")
	b.fill("#password", password)
	b.click("passkey-step button")
	b.at("/account/passkeys")

	b.click(".remove summary")
	b.click(".remove button")
	b.until("the empty list", `!document.querySelector(".passkeys") && document.querySelector(".notice")`)
	b.logsOut()
	b.at("/login")
	b.fill("#username", "ada")
	b.fill("#password", password)
	b.click("passkey-step button")
	b.exists("#login .problem")
}

func TestBrowserWhoHasNoPasskeyAtHandTypesACode(t *testing.T) {
	t.Parallel()
	o := openOffice(t, named)
	ada := o.register("ada", "Ada Lovelace")
	b := o.browser("ada")
	b.holdsPasskeys() // of others
	b.open("/login")
	b.at("/login")
	b.fill("#username", "ada")
	b.fill("#password", password)
	b.click("passkey-step button")
	b.exists("[data-trouble=unused]:not([hidden])")
	b.fill("#code", ada.code())
	b.click("#login button.primary")
	b.at("/rooms")
}
