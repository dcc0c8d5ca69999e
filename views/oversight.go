package views

import (
	"strconv"
	"time"
)

// Overview is the first page of the administration.
type Overview struct {
	Warnings      []string // what the operator should do something about, besides the disk and the certificate
	Posts, Logins Chart
	Integrity     Integrity
	Server        Server
	Keys          Keys
	Disk          Disk
	Certificate   *Certificate // nil when the server was given none to show

	CertificateEnds bool // soon
}

// Integrity is how far everything that is stored has been checked.
type Integrity struct {
	Walked, Rooms int  // since the start
	Finished      bool // the walk through all rooms
	Harmed        int
	AuditDamaged  uint64 // the first damaged entry of the audit log; 0 for none
	AuditChecked  bool
	Anchored      time.Time
}

// Server is the running program.
type Server struct {
	Started               time.Time
	Online, People, Pages int
	Rooms                 int
	Registration          string
	Memory                int64 // bytes
	LimitScale            int
	Version               string
}

// Keys is where the master key is, without a byte of it.
type Keys struct {
	Master      string // its name
	Since       time.Time
	Credentials bool     // it comes from the service manager
	Unused      []string // files of other keys that lie beside it
}

// Disk is the space in bytes that the data takes, and what is left.
type Disk struct {
	Database, WriteAhead, Free, Disk int64
	Known                            bool // whether Free and Disk are
	Short                            bool // nearly full
}

// Certificate is what the server shows to browsers.
type Certificate struct {
	Fingerprint, KeyFingerprint string // SHA-256
	Until                       time.Time
	Names                       []string
	Own                         bool // made, and renewed, by Conclave
}

// Chart is a curve over days, drawn here: the paths stand in a field of 290 by 100.
type Chart struct {
	Kind    ChartKind
	Max     int
	Series  []Series
	Days    []ChartDay
	Partial bool // not everything has been counted yet
}

// Series is one curve.
type Series struct {
	Path       string
	Sum, Today int // of all days, and of the last
}

// ChartKind is what a chart shows. It begins the ids of its title and its description.
type ChartKind string

// The charts there are, with the curves that each has.
const (
	PostsChart  ChartKind = "posts"  // messages
	LoginsChart ChartKind = "logins" // who signed in, and how often somebody was refused
)

// ChartDay are the figures of one day, one for each series.
type ChartDay struct {
	Day     time.Time
	Figures []int
}

// AuditLog is a page of the audit log with its filters.
type AuditLog struct {
	Kind             string
	Kinds            []AuditKind
	Person, From, To Field
	State            string // what is known of the whole log's integrity
	Broken           bool
	Rows             []AuditRow
	Older, Newest    string // addresses; empty for none
	Filtered         bool
	Error            string
}

// AuditKind is a kind of events, to choose them all or one of them.
type AuditKind struct {
	Name, Value string
	Events      []AuditChoice
}

// AuditChoice is one event to choose.
type AuditChoice struct{ Name, Value string }

// AuditRow is one event, or what is known of one that is damaged or missing.
type AuditRow struct {
	N       uint64
	At      time.Time
	What    string
	Who     Person // of no account: Nobody
	Nobody  string
	About   Person // empty: it is about nobody else
	Object  string
	Address string
	Session string // a few letters that tell sessions apart
	Outcome string

	Damaged string
	Missing uint64 // before it
	Cut     uint64 // this many are missing at the end of the log: no event
}

// RoomTable lists the rooms of the server for the administrator.
type RoomTable struct {
	Rows        []RoomRow
	Order       string
	All         int
	First, Next string   // addresses; empty for none
	Orders      []string // to choose from: "activity", "size" and "messages"
}

// RoomRow is one room: never anything that is said in it.
type RoomRow struct {
	Short         string // the beginning of its id
	ID            string // where the reader is a member
	Name          string // likewise
	Members       int
	Posts         uint64
	Bytes         int64 // of its sealed messages
	Counted       bool  // whether Bytes is known
	Created, Last time.Time
	Epoch         uint32
	Destroyed     bool
	Harm          string
}

// Attempts is what is known of sign-ins, failed ones above all.
type Attempts struct {
	Logins  Chart
	Waiting []WaitingRow
	Sources []SourceRow
	Recent  []AuditRow
	More    bool   // there were more refused sign-ins in the last day than were looked at
	Error   string // about a wait that was to be lifted
}

// WaitingRow is an account that cannot sign in at the moment.
type WaitingRow struct {
	ID       string
	Who      Person
	Failures int
	Guessed  int
	Last     time.Time
	Until    time.Time // zero: until somebody lifts it
}

// SourceRow is an address that refused sign-ins came from.
type SourceRow struct {
	Address string
	Refused int
	Last    time.Time
	Limited bool
}

func count(n int) string { return strconv.Itoa(n) }

func entryNumber(n uint64) string { return strconv.FormatUint(n, 10) }

func chartDay(c Chart, at int) time.Time {
	if at < 0 || at >= len(c.Days) {
		return time.Time{}
	}
	return c.Days[at].Day
}

// dayName is a day of UTC as it is shown without JavaScript, and plainDay as machines read it.
func dayName(at time.Time) string { return at.UTC().Format(chartDayLayout) }

func plainDay(at time.Time) string { return at.UTC().Format("2006-01-02") }
