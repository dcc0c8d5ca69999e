package views

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave/static"

	"github.com/a-h/templ"
	"golang.org/x/net/html"
)

// corpus is what people may type into any field.
var corpus = []string{
	`<script>alert(1)</script>`,
	`"><img src=x onerror=alert(1)>`,
	`' onmouseover='alert(1)`,
	`</textarea><script>alert(1)</script>`,
	`</title><script>alert(1)</script>`,
	`<hx-partial hx-target="#messages" hx-swap="innerHTML settle:0">gone</hx-partial>`,
	`<div hx-swap-oob="true" id="messages" hx-get="/logout" hx-trigger="load">`,
	`</li></ol><li id="m-1" class="message">forged</li>`,
	`<head><title>stolen</title></head>`,
	`<template hx type="partial" hx-target="body">x</template>`,
	`{{ .Secret }} ${secret} {% raw %} <%= 1 %>`,
	`javascript:alert(1)`,
	`<style>*{display:none}</style><p style="color:red">`,
	`<svg><a xlink:href="javascript:alert(1)">`,
	"line\nline\r\n\tdata: x\n\nid: 99",
	"\u202edesrever \u2066x",
	`&lt;b&gt;&amp;amp;`,
}

// everything renders all that handlers may send, with the given text wherever text may stand.
func everything(text string) map[string]templ.Component {
	at := time.Date(2026, 11, 4, 9, 30, 0, 0, time.UTC)
	who := Person{Username: text, FullName: text, Role: "owner", Here: true}
	people := []Person{who, {Username: "grace", FullName: "Grace Hopper"}}
	f := Field{Value: text, Error: text}
	s := Shell{Me: &who, Notice: text, Heed: text, Rooms: SwitcherPart(Switcher{Here: "r1", List: []RoomCard{{ID: "r1", Name: text}}})}
	code := QR{Size: 29, Path: "M4 4h7v1h-7z"}
	h := History{RoomID: "r1", Before: 7, New: 9, Entries: []Entry{
		{N: 7, Kind: Created, Who: who, At: at},
		{N: 8, Kind: Joined, Who: who, At: at},
		{N: 9, Kind: Message, RoomID: "r1", Edited: true, Who: who, At: at, Body: []Span{{Text: text}, {Text: "https://example.org/?a=1&b=2", Href: "https://example.org/?a=1&b=2"}}},
		{N: 10, Kind: Damaged, Who: who, At: at, Body: []Span{{Text: "never shown"}}},
		{N: 11, Kind: Left, Who: who, At: at},
		{N: 12, Kind: Removed, RoomID: "r1", Who: who, At: at, Body: []Span{{Text: "never shown"}}},
		{N: 13, Kind: Gap, Missing: 2, Who: who, Body: []Span{{Text: "never shown"}}},
	}}
	c := Composer{RoomID: "r1", ClientID: "c1", Draft: text, Error: text, Posted: 9}
	reg := Register{Username: f, FullName: f, Email: f, Token: f, PasswordError: text, Error: text}
	enrol := Enrol{Action: "/register/confirm", Username: text, Secret: "JBSWY3DPEHPK3PXP", QR: code, Error: text}
	login := Login{Username: text, Next: "/join", Error: text, Registration: "open"}
	harmed := Room{ID: "r1", Name: text, Members: people, Me: text, History: h, Composer: c, Harmed: true, ReadOnly: true, Owner: true, Proof: Proof{N: 13, Fingerprint: "K7M2-QX9R"}}
	act := Actions{RoomID: "r1", Entry: h.Entries[2], Draft: text, Error: text, MayEdit: true, MayRemove: true}
	foreign := Actions{RoomID: "r1", Entry: h.Entries[2], MayRemove: true}
	waiting := []Waiting{{Who: Person{Username: "mallory", FullName: text}, At: at}}
	sudo := Sudo{Next: "/rooms/r1/settings", Error: text}
	holder := Account{ID: "u1", Person: who, Email: text, Admin: true, Created: at, LastLogin: at, Sessions: 2, Rooms: 3, ResetLink: "https://localhost:8443/reset#reset=0123", Error: text}
	profile := Profile{Username: text, FullName: f, Email: f, Error: text}
	curve := Chart{Kind: PostsChart, Max: 1200, Series: []Series{{Path: "M0 0"}, {Path: "M0 0"}}, Days: []ChartDay{{Day: at, Figures: []int{1200, 3}}}, Partial: true}
	logins := curve
	logins.Kind = LoginsChart
	events := []AuditRow{{N: 9, At: at, What: text, Who: who, About: who, Object: text, Address: text, Session: "s1", Outcome: text, Missing: 2}, {N: 6, At: at, What: text, Nobody: text}, {N: 5, Damaged: text, Missing: 1}, {Cut: 1200}}
	oops := Error{Status: 404, Title: text, Text: text, RequestID: "r-1", BackURL: "/rooms", BackText: text}
	return map[string]templ.Component{
		"RegisterPage": RegisterPage(s, reg), "RegisterPartial": RegisterPartial(reg),
		"RegisterPage closed": RegisterPage(Shell{}, Register{Registration: "closed"}), "RegisterPage token": RegisterPage(Shell{}, Register{Registration: "invite"}),
		"ResetPage": ResetPage(s, Reset{Token: f, PasswordError: text, Error: text}), "ResetPartial": ResetPartial(Reset{Token: f}),
		"PeoplePage": PeoplePage(s, People{Query: text, List: []Account{holder, {ID: "u2", Damaged: true}}, Count: 102, Page: 2, Pages: 3, Previous: "/admin/people?page=1&q=a", Next: "/admin/people?page=3&q=a"}), "PeoplePage empty": PeoplePage(s, People{Query: text}),
		"PersonPage": PersonPage(s, holder), "PersonPage disabled": PersonPage(s, Account{ID: "u2", Person: who, Disabled: at}), "PersonPage damaged": PersonPage(s, Account{ID: "u2", Damaged: true}), "PersonPage myself": PersonPage(s, Account{ID: "u2", Person: who, Myself: true, Confirmed: true}),
		"InvitationsPage": InvitationsPage(s, Invitations{List: []Invitation{{ID: "t1", By: who, Created: at, Expires: at, Used: 1, Most: 5}, {ID: "t2", By: who, Ended: "used up"}}, Uses: f, Hours: f, Registration: "invite", Link: "https://localhost:8443/register#invite=0123"}), "InvitationsPage empty": InvitationsPage(s, Invitations{Registration: "open", Confirmed: true}), "InvitationsPage closed": InvitationsPage(s, Invitations{Registration: "closed"}),
		"EnrolPage": EnrolPage(s, enrol), "EnrolPage recovery": EnrolPage(s, Enrol{Action: "/login/enrol", Recovery: true, Username: text, QR: code}), "EnrolPartial": EnrolPartial(enrol),
		"RecoveryPage": RecoveryPage(s, Recovery{Codes: []string{"K7M2QX-9RT4VB-W3NC8D-5HJ6PA"}}),
		"LoginPage":    LoginPage(Shell{}, login), "LoginPartial": LoginPartial(login),
		"JoinPage": JoinPage(s, Join{Code: f, SignedIn: true}), "JoinPage signed out": JoinPage(Shell{}, Join{}),
		"RoomsPage": RoomsPage(s, Rooms{List: []RoomCard{{ID: "r1", Name: text, Members: people, Count: 9, Last: at, Unread: 3}, {ID: "r3", Name: text, Unread: 100}, {ID: "r2", Broken: true}}, Name: f, Code: f, CodesPending: true}), "RoomsPage empty": RoomsPage(s, Rooms{}),
		"RoomPage":     RoomPage(s, Room{ID: "r1", Name: text, Code: "K7M2-QX9R-T4VB-W3NC", JoinURL: "https://localhost:8443/join#K7M2-QX9R-T4VB-W3NC", JoinQR: JoinQRPart(code), Members: people, Me: text, History: h, Composer: c, Alone: true, FeedURL: "/rooms/r1/feed?after=11", Mark: 8, Unread: 2, Typing: true, Proof: Proof{N: 13}}),
		"SwitcherPart": SwitcherPart(Switcher{Here: "r1", More: true, List: []RoomCard{{ID: "r1", Name: text}, {ID: "r2", Name: text, Unread: 3}}}), "SwitcherPart empty": SwitcherPart(Switcher{}),
		"RoomPage first": RoomPage(s, Room{ID: "r1", Name: text, Code: "K7M2-QX9R-T4VB-W3NC", JoinURL: "https://localhost:8443/join#K7M2-QX9R-T4VB-W3NC", JoinQR: JoinQRPart(code), First: true, Alone: true}), "RoomPage first off": RoomPage(s, Room{ID: "r1", First: true, Terms: Terms{Off: true}}), "RoomPage first knock": RoomPage(s, Room{ID: "r1", Code: "K7M2-QX9R-T4VB-W3NC", First: true, Terms: Terms{Knock: true}}),
		"KeysPage": KeysPage(s), "KeysPartial": KeysPartial(),
		"RoomPage without new": RoomPage(s, Room{ID: "r1", Mark: 13}), "RoomPage silent": RoomPage(s, Room{ID: "r1"}),
		"OlderPage":    OlderPage(s, h),
		"OlderPartial": OlderPartial(h), "RefreshPartial": RefreshPartial(History{RoomID: "r1", Entries: h.Entries}),
		"ComposerPartial": ComposerPartial(c),
		"EntryPart":       EntryPart(h.Entries[2]),
		"JoinQRPart":      JoinQRPart(code),
		"EntryPartial":    EntryPartial(h.Entries[2]),
		"ChangePartial":   ChangePartial(h.Entries[2]), "ChangePartial removed": ChangePartial(h.Entries[5]),
		"RoomPage harmed": RoomPage(s, harmed),
		"ActionsPage":     ActionsPage(s, act), "ActionsPartial": ActionsPartial(act),
		"ActionsPartial moderator": ActionsPartial(foreign), "ActionsPartial reader": ActionsPartial(Actions{RoomID: "r1", Entry: h.Entries[2], Draft: text}),
		"ActionsPartial removed": ActionsPartial(Actions{RoomID: "r1", Entry: h.Entries[5]}), "ActionsPage damaged": ActionsPage(s, Actions{RoomID: "r1", Entry: h.Entries[3]}),
		"SettingsPage":     SettingsPage(s, Settings{ID: "r1", Name: text, Code: "K7M2-QX9R-T4VB-W3NC", Terms: Terms{Expires: at, Uses: 9, Joined: 2, Knock: true}, Waiting: waiting, Form: CodeForm{Expires: f, Uses: f, Knock: true}}),
		"SettingsPage off": SettingsPage(s, Settings{ID: "r1", Name: text, Terms: Terms{Off: true}}), "SettingsPage damaged": SettingsPage(s, Settings{ID: "r1", Name: text, Terms: Terms{Damaged: true}}),
		"CodePartial":   CodePartial("r1"),
		"KnocksPartial": KnocksPartial("r1", waiting), "KnocksPartial none": KnocksPartial("r1", nil),
		"YourRoomsPartial": YourRoomsPartial(Rooms{List: []RoomCard{{ID: "r1", Name: text, Members: people, Count: 2, Last: at}}, Knocks: []OwnKnock{{Name: "k1", At: at}}}), "YourRoomsPartial empty": YourRoomsPartial(Rooms{}),
		"RoomPage waiting": RoomPage(s, Room{ID: "r1", Name: text, Owner: true, Waiting: waiting, Terms: Terms{Expired: true, Expires: at}}), "RoomPage off": RoomPage(s, Room{ID: "r1", Terms: Terms{Off: true}}), "RoomPage spent": RoomPage(s, Room{ID: "r1", Code: "K7M2-QX9R-T4VB-W3NC", Terms: Terms{Uses: 2, Joined: 2}}),
		"SudoPage": SudoPage(s, sudo), "SudoPartial": SudoPartial(sudo),
		"PresencePartial": PresencePartial(people, people, people), "PresencePartial quiet": PresencePartial(nil, nil, nil),
		"MembersPartial": MembersPartial(people), "MembersPartial alone": MembersPartial(people[:1]),
		"TypingPartial": TypingPartial(people),
		"UnreadPartial": UnreadPartial(Unreads{All: true, Rooms: []Unread{{RoomID: "r1", Count: 3, Mark: 17}, {RoomID: "r2", Mark: 4}}}), "UnreadPartial changed": UnreadPartial(Unreads{Rooms: []Unread{{RoomID: "r1", Count: 120, Mark: 17}}}),
		"ProfilePage": ProfilePage(s, profile), "ProfilePartial": ProfilePartial(profile), "EmailPage": EmailPage(s, profile), "EmailPartial": EmailPartial(profile),
		"PasswordPage": PasswordPage(s, Password{Username: text, PasswordError: text, Error: text}), "PasswordPartial": PasswordPartial(Password{Username: text, PasswordError: text, Error: text}),
		"AuthenticatorPage": AuthenticatorPage(s, Enrol{Action: "/account/authenticator", Username: text, QR: code, Error: text, Problem: text}),
		"CodesPage":         CodesPage(s, Codes{Left: 3}), "CodesPage pending": CodesPage(s, Codes{Pending: true}), "CodesPage none": CodesPage(s, Codes{}),
		"SessionsPage": SessionsPage(s, Sessions{Before: at, BeforeFrom: text, List: []Session{{Name: "a1", This: true, Device: text, Address: text, SignedIn: at, Seen: at}, {Name: "a2", Device: text}}}),
		"FarewellPage": FarewellPage(s, Farewell{Username: text, Typed: f, Remove: true, Rooms: 2, Closing: []string{text, text}, Error: text}), "FarewellPage refused": FarewellPage(s, Farewell{Refused: text}),
		"GoodbyePage": GoodbyePage(Shell{}),
		"MembersPage": MembersPage(s, Members{RoomID: "r1", Room: text, People: []Person{{Username: "ada", FullName: text, Role: "owner", Since: at}, {Username: "grace", FullName: text, Role: "moderator", Since: at}, {Username: "alan", FullName: text, Role: "member"}}, Me: "ada", Owner: true, Error: text}), "MembersPage alone": MembersPage(s, Members{RoomID: "r1", People: people[1:], Owner: true}),
		"SettingsPage banned": SettingsPage(s, Settings{ID: "r1", Name: text, Banned: []Person{{Username: "mallory", FullName: text}}, History: f}),
		"ProofPage":           ProofPage(s, ProofAt{RoomID: "r1", Name: text, Head: 1300, N: f, Proof: Proof{N: 9, Fingerprint: "K7M2-QX9R"}}),
		"PasskeysPage":        PasskeysPage(s, Passkeys{Site: "localhost", Confirmed: true, Harmed: true, Name: f, Error: text, List: []Passkey{{ID: "p1", Name: text, Site: "localhost", Created: at, Used: at}, {ID: "p2", Name: text, Site: "other.example", Created: at}}}), "PasskeysPage nowhere": PasskeysPage(s, Passkeys{}), "PasskeysPage unconfirmed": PasskeysPage(s, Passkeys{Site: "localhost"}),
		"PasskeyPartial": PasskeyPartial(text), "PasskeyProblemPartial": PasskeyProblemPartial(text),
		"OverviewPage": OverviewPage(s, Overview{Warnings: []string{text}, Posts: curve, Logins: logins, Server: Server{Started: at, Online: 1, People: 1300, Pages: 2, Registration: text, Memory: 1 << 25, LimitScale: 2, Version: text}, Integrity: Integrity{Walked: 3, Rooms: 4, Harmed: 1, AuditDamaged: 7, Anchored: at}, Keys: Keys{Master: text, Since: at, Unused: []string{text}, Credentials: true}, Disk: Disk{Database: 1 << 31, WriteAhead: 1500, Free: 7, Disk: 1 << 40, Known: true, Short: true}, CertificateEnds: true, Certificate: &Certificate{Fingerprint: text, KeyFingerprint: text, Until: at, Names: []string{text}}}), "OverviewPage calm": OverviewPage(s, Overview{Posts: curve, Logins: logins, Integrity: Integrity{Finished: true, AuditChecked: true}, CertificateEnds: true, Certificate: &Certificate{Own: true}}),
		"RoomTablePage": RoomTablePage(s, RoomTable{All: 1200, Next: "/admin/rooms?page=2", Orders: []string{"activity", "size", "messages"}, Order: "size", Rows: []RoomRow{{Short: "abc", ID: "r1", Name: text, Members: 2, Posts: 1300, Bytes: 1536, Counted: true, Created: at, Last: at}, {Short: "def", Destroyed: true}, {Short: "ghi", Harm: text}}}), "RoomTablePage empty": RoomTablePage(s, RoomTable{}), "RoomTablePage one": RoomTablePage(s, RoomTable{All: 1}),
		"AttemptsPage": AttemptsPage(s, Attempts{Logins: curve, Error: text, More: true, Recent: events, Waiting: []WaitingRow{{ID: "u1", Who: who, Failures: 1200, Guessed: 1, Last: at, Until: at}, {ID: "u2", Who: who}}, Sources: []SourceRow{{Address: text, Refused: 3, Last: at, Limited: true}}}), "AttemptsPage calm": AttemptsPage(s, Attempts{Logins: curve}),
		"AuditPage": AuditPage(s, AuditLog{Kind: "a", Kinds: []AuditKind{{Name: text, Value: "a", Events: []AuditChoice{{Name: text, Value: "b"}}}}, Person: f, From: f, To: f, State: text, Broken: true, Rows: events, Older: "/admin/audit?before=7", Newest: "/admin/audit", Filtered: true}), "AuditPage empty": AuditPage(s, AuditLog{}), "AuditPage wrong": AuditPage(s, AuditLog{Error: text}),
		"RoomsPage shell": RoomsPage(Shell{Me: &who, Admin: true, Arrival: &Arrival{Failures: 3, Guessed: 2, Since: at, Last: at, LastFrom: text}, News: []News{{At: at, Address: text, Browser: text}}}, Rooms{}), "RoomsPage once": RoomsPage(Shell{Me: &who, Arrival: &Arrival{Failures: 1, Guessed: 1, Since: at}}, Rooms{}),
		"NewsPartial": NewsPartial([]News{{At: at, Address: text, Browser: text}}),
		"ErrorPage":   ErrorPage(s, oops), "ErrorPartial": ErrorPartial(oops),
	}
}

func render(t *testing.T, c templ.Component) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Render(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func parse(t *testing.T, text string) []*html.Node {
	t.Helper()
	var nodes []*html.Node
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		nodes = append(nodes, n)
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	doc, err := html.ParseWithOptions(strings.NewReader(text), html.ParseOptionEnableScripting(false))
	if err != nil {
		t.Fatal(err)
	}
	walk(doc)
	return nodes
}

func attr(n *html.Node, name string) (string, bool) {
	i := slices.IndexFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
	if i < 0 {
		return "", false
	}
	return n.Attr[i].Val, true
}

func textOf(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	var b strings.Builder
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		b.WriteString(textOf(c))
	}
	return b.String()
}

// shape is a page without its texts and values: elements and the names of their attributes.
func shape(t *testing.T, text string) string {
	var b strings.Builder
	for _, n := range parse(t, text) {
		if n.Type != html.ElementNode {
			continue
		}
		b.WriteString("<" + n.Data)
		for _, a := range n.Attr {
			b.WriteString(" " + a.Key)
			if strings.HasPrefix(a.Key, "hx-") || a.Key == "action" || a.Key == "href" || a.Key == "id" {
				b.WriteString("=" + a.Val)
			}
		}
		b.WriteString(">")
	}
	return b.String()
}

func TestTextOfPeopleNeverBecomesMarkup(t *testing.T) {
	tame := everything("tame")
	for _, text := range corpus {
		for name, c := range everything(text) {
			if got, want := shape(t, render(t, c)), shape(t, render(t, tame[name])); got != want {
				t.Errorf("%s: %q changed the page:\n%s\n%s", name, text, got, want)
			}
		}
	}
}

func TestAMessageIsShownLetterByLetter(t *testing.T) {
	for _, text := range append(corpus, "  two  spaces\n\n\tand a tab ") {
		e := Entry{N: 5, Kind: Message, Who: Person{Username: "ada", FullName: "Ada"}, Body: []Span{{Text: text}, {Text: " "}, {Text: "link", Href: "https://example.org/"}, {Text: "!"}}}
		found := false
		for _, n := range parse(t, render(t, entry(e))) {
			if class, _ := attr(n, "class"); class != "body" {
				continue
			}
			found = true
			want := strings.ReplaceAll(text, "\r\n", "\n") + " link!" // as every HTML parser reads it
			if got := textOf(n); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if _, ignored := attr(n, "hx-ignore"); !ignored {
				t.Error("the body of a message is not hx-ignore")
			}
		}
		if !found {
			t.Errorf("%q: no body", text)
		}
	}
}

func TestALinkThatIsNoWebAddressGoesNowhere(t *testing.T) {
	for _, href := range []string{"javascript:alert(1)", " JavaScript:alert(1)", "data:text/html,x", "vbscript:x"} {
		out := render(t, entry(Entry{N: 5, RoomID: "r1", Body: []Span{{Text: "x", Href: href}}}))
		for _, n := range parse(t, out) {
			if got, ok := attr(n, "href"); ok && got != "/rooms/r1/messages/5/edit" && got != "about:invalid#TemplFailedSanitizationURL" {
				t.Errorf("%q became %q", href, got)
			}
		}
	}
}

func TestEntriesThatAreNoMessagesHaveNoBody(t *testing.T) {
	for _, k := range []EntryKind{Created, Joined, Left, Damaged, Removed, Gap} {
		out := render(t, entry(Entry{N: 5, Kind: k, RoomID: "r1", Edited: true, Missing: 1, Who: Person{Username: "ada", FullName: "Ada Lovelace"}, Body: []Span{{Text: "never shown"}}}))
		if !strings.Contains(out, `<li id="m-5"`) || strings.Contains(out, `class="body"`) || strings.Contains(out, "never shown") {
			t.Errorf("kind %d: %s", k, out)
		}
		if strings.Contains(out, "edited") || strings.Contains(out, "href=") {
			t.Errorf("kind %d leads somewhere or was edited: %s", k, out)
		}
		if k == Removed && (!strings.Contains(out, "Message removed") || !strings.Contains(out, "Ada Lovelace") || !strings.Contains(out, "<time")) {
			t.Errorf("removed: %s", out)
		}
		if k == Gap && !strings.Contains(out, "1 message is missing here") {
			t.Errorf("gap: %s", out)
		}
		if (k == Damaged || k == Gap) && (strings.Contains(out, "Ada") || strings.Contains(out, "data-")) {
			t.Errorf("damage is given an author or a time: %s", out)
		}
		if k == Damaged && (strings.Contains(out, "Ada") || strings.Contains(out, "data-author") || strings.Contains(out, "hx-") || !strings.Contains(out, "This message failed its integrity check and is not shown")) {
			t.Errorf("damaged: %s", out)
		}
	}
}

// What a reader may not do, and what may not be shown, has no form. A form shows what was
// typed as it was typed.
func TestAMessageOffersOnlyWhatTheReaderMayDo(t *testing.T) {
	message := Entry{N: 5, RoomID: "r1", Who: Person{Username: "ada", FullName: "Ada Lovelace"}, Body: []Span{{Text: "spoken"}}}
	for _, c := range []struct {
		name         string
		a            Actions
		edit, remove bool
		says         string
	}{
		{"author", Actions{MayEdit: true, MayRemove: true}, true, true, "Save"},
		{"moderator", Actions{MayRemove: true}, false, true, "spoken"},
		{"reader", Actions{}, false, false, "Only its author can change it."},
		{"removed", Actions{Entry: Entry{N: 5, Kind: Removed}}, false, false, "Message removed"},
		{"damaged", Actions{Entry: Entry{N: 5, Kind: Damaged}}, false, false, "failed its integrity check"},
		{"refused", Actions{Error: "Too fast."}, false, false, "Too fast."},
	} {
		c.a.RoomID = "r1"
		if c.a.Entry.N == 0 {
			c.a.Entry = message
		}
		out := render(t, ActionsPartial(c.a))
		if got := strings.Contains(out, `action="/rooms/r1/messages/5"`); got != c.edit {
			t.Errorf("%s: a form to edit: %v", c.name, got)
		}
		if got := strings.Contains(out, `action="/rooms/r1/messages/5/delete"`); got != c.remove {
			t.Errorf("%s: a form to remove: %v", c.name, got)
		}
		if !strings.Contains(out, c.says) || strings.Contains(out, `id="m-`) || strings.Contains(out, `class="body"`) {
			t.Errorf("%s: %s", c.name, out)
		}
	}
	for _, text := range append(corpus, "\n\n  begins with empty lines") {
		for _, n := range parse(t, render(t, ActionsPartial(Actions{RoomID: "r1", Entry: message, Draft: text, MayEdit: true}))) {
			if got, want := textOf(n), strings.ReplaceAll(text, "\r\n", "\n"); n.Data == "textarea" && got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
}

func TestAHarmedRoomSaysSoAndAReadOnlyOneTakesNothing(t *testing.T) {
	whole, harmed, closed := Room{ID: "r1"}, Room{ID: "r1", Harmed: true}, Room{ID: "r1", Harmed: true, ReadOnly: true}
	for _, c := range []struct {
		room          Room
		banner, stays bool
	}{{whole, false, true}, {harmed, true, true}, {closed, true, false}} {
		out := render(t, RoomPage(Shell{}, c.room))
		if got := strings.Contains(out, "Something in this room failed its integrity check. What failed is not shown. Tell the person who runs this server."); got != c.banner {
			t.Errorf("%+v: banner %v", c.room, got)
		}
		if got := strings.Contains(out, `id="composer"`); got != c.stays {
			t.Errorf("%+v: composer %v", c.room, got)
		}
		if got := strings.Contains(out, "Nothing can be added to it until then."); got == c.stays {
			t.Errorf("%+v: read-only %v", c.room, got)
		}
		if strings.Contains(out, "/settings") {
			t.Errorf("%+v: a member is led to the settings", c.room)
		}
	}
}

// What no page may hold, over what is sent.
func TestNoBannedAttributeIsSent_T36(t *testing.T) {
	for name, c := range everything("tame") {
		for _, n := range parse(t, render(t, c)) {
			if n.Type != html.ElementNode {
				continue
			}
			if n.Data == "style" || n.Data == "script" && textOf(n) != "" {
				t.Errorf("%s: inline <%s>", name, n.Data)
			}
			if title, _ := attr(n, "title"); n.Data == "title" && strings.HasSuffix(name, "Partial") {
				t.Errorf("%s: a fragment with a title %q", name, title)
			}
			for _, a := range n.Attr {
				bad := strings.HasPrefix(a.Key, "on") || strings.HasPrefix(a.Key, "hx-on") || a.Key == "style" || a.Key == "srcdoc" ||
					a.Key == "formaction" || a.Key == "xlink:href" || a.Key == "hx-boost" || a.Key == "hx-trigger" && strings.Contains(a.Val, "[") ||
					regexp.MustCompile(`(?i)^\s*(js|javascript):`).MatchString(a.Val)
				if bad {
					t.Errorf("%s: %s=%q", name, a.Key, a.Val)
				}
			}
		}
	}
}

// A browser takes the first and says nothing, and so do the readers of HTML.
func TestNoAttributeIsGivenTwice(t *testing.T) {
	for name, c := range everything("tame") {
		tokens := html.NewTokenizer(strings.NewReader(render(t, c)))
		for kind := tokens.Next(); kind != html.ErrorToken; kind = tokens.Next() {
			tag, given := string(tokens.Raw()), map[string]bool{}
			if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
				continue
			}
			for _, word := range strings.Fields(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(tag, "")) {
				if given[word] {
					t.Errorf("%s: %s twice in %s", name, word, tag)
				}
				given[word] = true
			}
		}
	}
}

// The same over the sources, for what a rendering may not reach.
func TestNoBannedWordIsWritten_T36(t *testing.T) {
	banned := regexp.MustCompile(`hx-on|\son[a-z]+=|hx-trigger="[^"]*\[|"(js|javascript):|style=|<style|templ\.Raw|templ\.SafeURL|templ\.JSFuncCall|(?m:^css )|(?m:^script )|\.\.\. *}|formaction|srcdoc|xlink:href|hx-boost|(?i)end-to-end`)
	spread := "{ children... }"
	files, err := filepath.Glob("*.templ")
	if err != nil || len(files) == 0 {
		t.Fatal("no templates", err)
	}
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if found := banned.FindString(strings.ReplaceAll(string(source), spread, "")); found != "" {
			t.Errorf("%s: %q", name, found)
		}
	}
}

func TestEveryFormWorksWithoutJavaScript(t *testing.T) {
	for name, c := range everything("tame") {
		for _, n := range parse(t, render(t, c)) {
			if n.Type != html.ElementNode || n.Data != "form" {
				continue
			}
			method, _ := attr(n, "method")
			action, _ := attr(n, "action")
			_, changes := attr(n, "hx-post")
			if method != "post" && (method != "get" || changes) || !strings.HasPrefix(action, "/") {
				t.Errorf("%s: form method=%q action=%q", name, method, action)
			}
			if enhanced, ok := attr(n, "hx-post"); ok && enhanced != action {
				t.Errorf("%s: the form goes to %q with and to %q without JavaScript", name, enhanced, action)
			}
		}
	}
}

func TestPasswordsAreNeverSentBackAndIDsAreOnlyOnce(t *testing.T) {
	for name, c := range everything("tame") {
		seen := map[string]bool{}
		for _, n := range parse(t, render(t, c)) {
			if kind, _ := attr(n, "type"); kind == "password" {
				if _, sent := attr(n, "value"); sent {
					t.Errorf("%s: a password field with a value", name)
				}
			}
			id, ok := attr(n, "id")
			if ok && seen[id] && !strings.Contains(name, "Presence") {
				t.Errorf("%s: id %q twice", name, id)
			}
			seen[id] = true
		}
	}
}

// What others rely on.
func TestTheContractOfPages(t *testing.T) {
	want := map[string][]string{
		"RegisterPage":          {`name="username"`, `name="full_name"`, `name="email"`, `name="password"`, `name="token"`, `autocomplete="new-password"`},
		"EnrolPage":             {`id="totp-secret"`, `name="code"`, "Each code works once. If you have just used one, wait for the next."},
		"RecoveryPage":          {`class="recovery-code"`, "I have saved them"},
		"LoginPage":             {`name="username"`, `name="password"`, `name="code"`, `name="next"`, `autocomplete="current-password"`, `autocomplete="one-time-code"`, "Each code works once. If you have just used one, wait for the next."},
		"JoinPage":              {`action="/rooms/join"`, `name="code"`},
		"RoomsPage":             {`action="/rooms"`, `name="name"`, `action="/rooms/join"`, `name="code"`, `href="/rooms/r1"`, `data-room="r1" data-count="3"`, "99+", `hx-sse:connect="/feed"`, `id="unreads"`},
		"RoomPage":              {`id="room-code"`, `<ol id="messages"`, `<li id="m-9"`, `class="body"`, `action="/rooms/r1/messages"`, `name="body"`, `name="client_id"`, `action="/rooms/r1/leave"`, `hx-sse:connect="/rooms/r1/feed?after=11"`, `id="feed-r1"`, "Look for new messages", "closes for good", `data-mark="8" data-new="9"`, `href="#m-9"`, `action="/rooms/r1/read"`, `name="n" value="13"`, `action="/rooms/r1/typing/show"`, `name="show" value="on" checked`, `id="typing"`, `id="presence"`, `id="unreads"`},
		"RoomPage without new":  {`data-mark="13"`},
		"RoomPage silent":       {`name="show" value="on">`},
		"PresencePartial":       {`<hx-partial hx-target="#presence" hx-swap="innerHTML settle:0"><span data-here="tame grace"></span> <span data-entered="tame">tame</span>`, `<span data-left="grace">Grace Hopper</span>`},
		"PresencePartial quiet": {`<span data-here=""></span> </hx-partial>`},
		"MembersPartial":        {`<hx-partial hx-target="#members"`, `data-username="grace"`, `<hx-partial hx-target="#alone"`, `<hx-partial hx-target="#leave-warning"`},
		"TypingPartial":         {`<hx-partial hx-target="#typists" hx-swap="innerHTML settle:0"><span data-username="tame">tame</span><span data-username="grace">Grace Hopper</span></hx-partial>`},
		"UnreadPartial":         {`<hx-partial hx-target="#unreads" hx-swap="innerHTML settle:0"><span id="unread-r1" data-count="3" data-mark="17"></span><span id="unread-r2" data-count="0" data-mark="4"></span></hx-partial>`},
		"UnreadPartial changed": {`<hx-partial hx-target="#unreads" hx-swap="upsert"><span id="unread-r1" data-count="120" data-mark="17"></span></hx-partial>`},
		"ComposerPartial":       {`id="composer-note"`, `data-posted="9"`, `hx-sync="this:queue all"`},
		"OlderPartial":          {`<hx-partial hx-target="#messages" hx-swap="upsert">`, `href="/rooms/r1/messages?before=7"`},
		"RefreshPartial":        {`<hx-partial hx-target="#messages" hx-swap="innerHTML settle:0">`, `<hx-partial hx-target="#older" hx-swap="outerHTML">`, "The beginning of the room"},
		"EntryPartial":          {`<hx-partial hx-target="#messages" hx-swap="upsert"><li id="m-9"`, `href="/rooms/r1/messages/9/edit"`, `class="edited"`},
		"ChangePartial":         {`<hx-partial hx-target="#m-9" hx-swap="outerHTML"><li id="m-9"`},
		"RoomPage harmed":       {`id="room-proof"`, "n 13: K7M2-QX9R", `href="/rooms/r1/settings"`, `<dialog id="message-dialog"`, "<local-number>2</local-number> messages are missing here", "Message removed"},
		"ActionsPage":           {`action="/rooms/r1/messages/9"`, `name="body"`, `action="/rooms/r1/messages/9/delete"`, `href="/rooms/r1"`},
		"SettingsPage":          {`action="/rooms/r1/destroy"`, `href="/rooms/r1"`, "conclave keys rotate", "conclave keys destroy", "asked for your password and a code first"},
		"SudoPage":              {`action="/sudo"`, `name="password"`, `name="code"`, `name="next"`, `value="/rooms/r1/settings"`, "Each code works once. If you have just used one, wait for the next.", `hx-preserve="true"`},
	}
	all := everything("tame")
	for name, parts := range want {
		out := render(t, all[name])
		for _, part := range parts {
			if !strings.Contains(out, part) {
				t.Errorf("%s lacks %s", name, part)
			}
		}
		if strings.HasSuffix(name, "Page") && !strings.Contains(out, `content="{&#34;includeIndicatorCSS&#34;:false,&#34;extensions&#34;:&#34;safe,sse,upsert&#34;}"`) {
			t.Errorf("%s lacks the htmx-config", name)
		}
	}
}

func TestWhatAPageNamesIsServed(t *testing.T) {
	for _, n := range parse(t, render(t, everything("tame")["RoomPage"])) {
		for _, key := range []string{"src", "href"} {
			address, _ := attr(n, key)
			if !strings.HasPrefix(address, "/static/") {
				continue
			}
			w := httptest.NewRecorder()
			static.Handler().ServeHTTP(w, httptest.NewRequest("GET", address, nil))
			if w.Code != 200 {
				t.Errorf("%s: %d", address, w.Code)
			}
		}
	}
}

// A page's feed says its messages in partials only, and only for places that some page has: what
// has no place is skipped without a word.
func TestEveryPartialHasAPlace(t *testing.T) {
	all := everything("tame")
	places := render(t, all["RoomPage"]) + render(t, all["RoomsPage"])
	for _, name := range []string{"PresencePartial", "MembersPartial", "TypingPartial", "UnreadPartial", "UnreadPartial changed", "EntryPartial", "ChangePartial", "RefreshPartial"} {
		targets := 0
		for _, n := range parse(t, render(t, all[name])) {
			if n.Parent != nil && n.Parent.Data == "body" && n.Type == html.ElementNode && n.Data != "hx-partial" {
				t.Errorf("%s: <%s> stands in no partial", name, n.Data)
			}
			if target, ok := attr(n, "hx-target"); ok && n.Data == "hx-partial" {
				targets++
				if !strings.Contains(places, `id="`+strings.TrimPrefix(target, "#")+`"`) {
					t.Errorf("%s: no page has %s", name, target)
				}
			}
		}
		if targets == 0 {
			t.Errorf("%s: no partial", name)
		}
	}
}

func TestNothingNewHasNoWayToIt(t *testing.T) {
	out := render(t, everything("tame")["RoomPage without new"])
	for _, part := range []string{"data-new", "Mark as read", "to the first"} {
		if strings.Contains(out, part) {
			t.Errorf("a room without anything new has %q", part)
		}
	}
}

// Whoever made a mistake has nothing to report; a number would only say that something is badly wrong.
func TestOnlyAFaultOfOursAsksToBeReported(t *testing.T) {
	for status, want := range map[int]bool{404: false, 422: false, 429: false, 500: true, 503: true} {
		e := ErrorOf(status)
		e.RequestID = "r-1"
		if got := strings.Contains(render(t, ErrorPartial(e)), "r-1"); got != want || e.Title == "" || e.Text == "" {
			t.Errorf("%d: the number is shown: %t, below %q, %q", status, got, e.Title, e.Text)
		}
	}
	if ErrorOf(415).Text == ErrorOf(500).Text || ErrorOf(599).Text != ErrorOf(500).Text {
		t.Error("a status without a text of its own is told like one of the other side")
	}
}
