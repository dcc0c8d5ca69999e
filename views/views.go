// Package views turns view data into HTML. It knows nothing of databases, keys or
// requests: a handler fills one of the structs below and sends the component of
// the same name. A name that starts with a capital is something a handler may
// send: a Page (a whole document) or a Partial (the part of a page that htmx
// swaps). A Page contains its Partial, so the two can never differ.
//
// A message's HTML is the same for every member of a room. What differs between
// readers (which messages are "mine", day lines, local time) is finished in the
// browser from data- attributes.
package views

//go:generate sh -c "cd .. && go tool -modfile=tools.mod templ generate"

import (
	"time"

	"github.com/a-h/templ"
)

// Shell is what the frame of every page needs to know.
type Shell struct {
	title  string  // set by the page
	Me     *Person // nil when nobody is signed in
	Admin  bool    // the reader administers the server
	Seen   string  // what the page tells its feed that it shows; empty for most pages
	Notice string  // one sentence shown once at the top of the page; empty for none
	Heed   string  // on the pages about the account: that few recovery codes are left; empty for none

	Rooms templ.Component // the SwitcherPart on the page of a room; nil elsewhere

	Arrival *Arrival // shown once after a sign-in; nil for nothing
	News    []News   // of this session, until it is dismissed; oldest first
}

// Arrival is what somebody who has just signed in should know.
type Arrival struct {
	Failures int       // tries that failed since the sign-in before
	Guessed  int       // of them with the right password
	Since    time.Time // of the first
	Last     time.Time // the sign-in before; zero when there was none
	LastFrom string    // its address
}

// News tells of a sign-in on a device that was not known.
type News struct {
	At      time.Time
	Address string
	Browser string // "Firefox on Linux"
}

// Person is somebody as other members may see them: never an email address.
type Person struct {
	Username string
	FullName string
	Role     string // "owner", "moderator" or "member" inside a room; empty elsewhere
	Here     bool   // has the room open right now

	Since time.Time // on the page of the members: when the person joined
}

// Unreads is what a person has not read, in all rooms or in those where it has changed.
type Unreads struct {
	Rooms []Unread
	All   bool // the person is in no other room
}

// Unread is what a person has not read of one room.
type Unread struct {
	RoomID string
	Count  uint64
	Mark   uint64 // everything up to this number is read, on whatever device
}

// Field is one input of a form as it came back: what was typed and what is wrong with it.
type Field struct {
	Value string
	Error string
}

// QR is a QR code as one SVG path in a square of Size by Size modules, quiet zone included.
type QR struct {
	Size int
	Path string
}

// Register is the first step of the registration.
type Register struct {
	Username, FullName, Email, Token Field
	PasswordError                    string
	Error                            string // about the whole form
	Registration                     string // "open", "invite" (only a set-up link or an invitation lets anybody in) or "closed"
}

// Enrol shows a TOTP secret and asks for its first code. The registration uses it, and
// the login with a recovery code.
type Enrol struct {
	Action   string // where the form goes
	Username string
	Secret   string // base32 without spaces
	QR       QR
	Recovery bool // true when a recovery code brought the person here
	Error    string
	Problem  string // about the whole form
}

// Profile is what a person can change about the own name and address.
type Profile struct {
	Username string
	FullName Field
	Email    Field
	Error    string // about the whole form
}

// Password is the form for another password.
type Password struct {
	Username      string
	PasswordError string
	Error         string
}

// Codes is how many recovery codes are left.
type Codes struct {
	Left    int
	Pending bool // new ones have not been marked as saved yet
}

// Sessions are where a person is signed in; the first is the one that asks.
type Sessions struct {
	List       []Session
	Before     time.Time // the sign-in before this one; zero when there was none
	BeforeFrom string    // its address
}

// Session is one of them.
type Session struct {
	Name     string // to end it by
	This     bool   // the one that asks
	Device   string // "Chrome on Linux"
	Address  string
	SignedIn time.Time
	Seen     time.Time
}

// Farewell is the form that deletes an account.
type Farewell struct {
	Username string // what has to be typed
	Typed    Field
	Remove   bool     // the messages too
	Rooms    int      // how many the person is in
	Closing  []string // names of those that close, since nobody else is in them
	Refused  string   // why it is not possible; empty when it is
	Error    string
}

// Recovery shows the ten recovery codes of an account.
type Recovery struct {
	Codes []string
}

// Login is the one form with user name, password and code.
type Login struct {
	Username     string
	Next         string // where to go afterwards; empty for the rooms
	Error        string
	Registration string // as in Register
	Passkeys     bool   // one can stand in for the code
}

// Join is the page behind an invitation link. The code itself stands after the # of its
// address, where only the browser sees it.
type Join struct {
	Code     Field
	SignedIn bool
}

// Rooms is the list of the reader's rooms.
type Rooms struct {
	List         []RoomCard
	Name         Field // the form that creates a room
	Code         Field // the form that joins one
	Knocks       []OwnKnock
	CodesPending bool // recovery codes have not been marked as saved yet
}

// Switcher is the way from a room to the reader's other rooms.
type Switcher struct {
	List []RoomCard // id, name and count only; where something happened last comes first
	Here string     // the room of the page
	More bool       // there are others
}

// OwnKnock is a room where the reader waits to be let in, and which the reader does not know yet.
type OwnKnock struct {
	Name string // of the knock
	At   time.Time
}

// RoomCard is one room in that list.
type RoomCard struct {
	ID      string
	Name    string
	Members []Person // at most five, the longest member first
	Count   int      // how many members there are
	Last    time.Time
	Broken  bool // the room cannot be opened: its key or its log failed verification
	Unread  uint64
}

// Room is the page of one room.
type Room struct {
	ID       string
	Name     string
	Code     string // XXXX-XXXX-XXXX-XXXX; empty while it is off
	Terms    Terms
	JoinURL  string          // https://host/join#CODE
	JoinQR   templ.Component // the JoinQRPart of that address
	Members  []Person
	Me       string // the reader's user name
	History  History
	Composer Composer
	Alone    bool // the reader is the only member: leaving closes the room for good
	First    bool // and nobody else has ever been here
	FeedURL  string
	Mark     uint64 // the reader has read everything up to this number
	Unread   uint64 // and not so many messages since
	Typing   bool   // others see it when the reader is writing

	Owner    bool      // the reader owns the room: there is a way to its settings
	Waiting  []Waiting // for the owner: who wants to come in
	Proof    Proof
	ReadOnly bool // the log failed verification: nothing can be added
	Harmed   bool // something in the room failed verification
}

// Proof is what two members can compare to see that the server still holds what it held.
type Proof struct {
	N           uint64 // the number up to which the fingerprint goes
	Fingerprint string // XXXX-XXXX
}

// ProofAt is the fingerprint up to a number that somebody asked for.
type ProofAt struct {
	RoomID string
	Name   string
	Head   uint64 // the room's last number
	N      Field
	Proof  Proof // empty when there is nothing to show
}

// Terms say when a room's code lets somebody in.
type Terms struct {
	Off     bool
	Expires time.Time // zero: never
	Expired bool
	Uses    int // so many joins in all; 0: any number
	Joined  int // so many of them have been used
	Knock   bool
	Damaged bool // the code failed its integrity check: nothing else is known
}

// Waiting is somebody who wants to be let into a room.
type Waiting struct {
	Who Person
	At  time.Time
}

// Settings is what the owner of a room can do with it as a whole.
type Settings struct {
	ID      string
	Name    string
	Code    string // empty while it is off
	Terms   Terms
	Waiting []Waiting
	Form    CodeForm
	History Field // what newcomers see: "all" or "since_join"
	Banned  []Person
}

// CodeForm is the form that sets the terms of a room's code, as it was sent.
type CodeForm struct {
	Expires, Uses Field
	Knock         bool
}

// Members is who belongs to a room.
type Members struct {
	RoomID string
	Room   string // its name
	People []Person
	Me     string // the reader's user name
	Owner  bool   // the reader owns the room
	Error  string
}

// Sudo asks for password and code again before something that destroys.
type Sudo struct {
	Next     string // where it leads afterwards
	Error    string
	Passkeys bool // one can stand in for the code
}

// Passkeys is the page about a person's passkeys.
type Passkeys struct {
	List      []Passkey
	Site      string // the name under which the page is open; empty when there can be no passkeys
	Confirmed bool   // password and second factor were given a moment ago
	Harmed    bool   // the passkeys failed verification: none of them counts
	Name      Field  // the form that adds one
	Error     string
}

// Passkey is one in that list.
type Passkey struct {
	ID, Name      string
	Site          string // the name under which alone it works
	Created, Used time.Time
	Rename        Field // the form that gives it another name
}

// Reset sets a new password with the code of a link.
type Reset struct {
	Token         Field
	PasswordError string
	Error         string
}

// People is a page of the list of everybody who has an account.
type People struct {
	Query          string // what was searched for; empty for all
	List           []Account
	Count          int // on all pages
	Page, Pages    int
	Previous, Next string // addresses of the pages beside this one; empty for none
}

// Account is what an administrator sees of somebody, and may do.
type Account struct {
	ID        string
	Person    Person
	Email     string
	Admin     bool
	Damaged   bool // nobody can sign in to it
	Myself    bool
	Created   time.Time
	LastLogin time.Time // zero: never
	Disabled  time.Time // zero: not at all
	Sessions  int
	Rooms     int

	Confirmed bool   // password and code were given a moment ago
	ResetLink string // just made; shown this once
	Error     string
}

// Invitations are the links with which people may register, and the form that makes one.
type Invitations struct {
	List         []Invitation
	Uses, Hours  Field
	Registration string // "open", "invite" or "closed"
	Confirmed    bool   // password and code were given a moment ago
	Link         string // just made; shown this once
}

// Invitation is one of them.
type Invitation struct {
	ID         string
	Short      string // the beginning of it, by which the audit log names the link
	By         Person
	Created    time.Time
	Expires    time.Time
	Used, Most int
	Ended      string // why it is good no more; empty while it is
}

// Actions is one message with what the reader may do to it.
type Actions struct {
	RoomID    string
	Entry     Entry
	Draft     string // the text in the form
	Error     string
	MayEdit   bool
	MayRemove bool
}

// History is a page of a room's log as people see it, oldest entry first.
type History struct {
	RoomID  string
	Entries []Entry
	Before  uint64 // the older page ends before this number; 0 when there is nothing older
	Since   bool   // it begins with the reader's joining, not with the room
	New     uint64 // the first message by somebody else that the reader has not read; 0 for none
}

// Entry is one line of the history. Exactly one of the kinds below applies.
type Entry struct {
	N    uint64
	Kind EntryKind
	Who  Person // the author of a message, or who came or went
	At   time.Time
	Body []Span // of a message

	RoomID  string // of a message: where its own page is
	Edited  bool   // of a message
	Missing int    // of a gap: how many entries are missing

	Ready templ.Component // the EntryPart of this entry, if it was rendered before
}

// EntryKind says what an entry shows.
type EntryKind int

// The kinds of entries.
const (
	Message  EntryKind = iota
	Created            // somebody created the room
	Joined             // somebody became a member
	Left               // somebody is no longer a member
	Expelled           // somebody was removed
	Banned             // somebody was removed for longer
	Damaged            // a message that failed its integrity check: no author, no text
	Removed            // a message that was removed: its author and time, no text
	Gap                // entries that should be here are missing
)

// Span is a piece of a message's text; with an Href it is a link.
type Span struct {
	Text string
	Href string // https:// or http:// only, checked by the handler
}

// Composer is the form a message is written in.
type Composer struct {
	RoomID   string
	ClientID string // a fresh one for each form, so that sending it twice posts once
	Draft    string
	Error    string
	Posted   uint64 // the number of the message that was just accepted; 0 for none
}

// Error is a page or fragment that says what went wrong and what to do next.
type Error struct {
	Status    int
	Title     string
	Text      string
	RequestID string // to report a fault of ours with
	BackURL   string
	BackText  string
}
