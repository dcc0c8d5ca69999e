package cipher

// Two people, two rooms and two passkeys for every test here.
var (
	ada   = ID([]byte("user: Ada Lovela"))
	grace = ID([]byte("user: Grace Hopp"))
	lab   = ID([]byte("room: laboratory"))
	attic = ID([]byte("room: the attic."))

	bronze = ID([]byte("passkey: bronze!"))
	silver = ID([]byte("passkey: silver!"))

	hello = MessagePlace{Author: ada, N: 7, Created: 1_790_000_000_123, Revision: 1}
)
