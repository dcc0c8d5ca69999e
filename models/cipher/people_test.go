package cipher

// Two people and two rooms for every test here.
var (
	ada   = ID([]byte("user: Ada Lovela"))
	grace = ID([]byte("user: Grace Hopp"))
	lab   = ID([]byte("room: laboratory"))
	attic = ID([]byte("room: the attic."))

	hello = MessagePlace{Author: ada, N: 7, Created: 1_790_000_000_123, Revision: 1}
)
