package demo

// helper is somebody of the co-op: the name to log in with, the name that others see, and the address that
// the audit log shows (RFC 5737: an address that belongs to nobody).
type helper struct {
	username, fullName, address string
}

// helpers are in the order in which they register. The first administers the server.
var helpers = []helper{
	{"mara", "Mara Lindqvist", "192.0.2.11"},
	{"yusuf", "Yusuf Demirtaş", "192.0.2.12"},
	{"layla", "ليلى حداد", "192.0.2.13"},
	{"tomasz", "Tomasz Wiśniewski", "192.0.2.14"},
	{"chidinma", "Chidinma Okonkwo", "192.0.2.15"},
	{"siobhan", "Siobhán Ní Bhriain", "192.0.2.16"},
	{"carmen", "María del Carmen Fernández-Villaverde Iturriaga", "192.0.2.17"},
	{"minhanh", "Nguyễn Minh Anh", "192.0.2.18"},
	{"bert", "Bert Hofstede", "192.0.2.19"},
}
