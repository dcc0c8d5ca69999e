package feed

// TEMPORARY, until the new hub is here.

// KindTyping says that somebody is writing.
const KindTyping Kind = 99

// Typing says that somebody is writing in a room.
func (h *Hub) Typing(topic, user ID) { h.Publish(&Event{Topic: topic, Kind: KindTyping, Entry: user}) }

// Unread says that what a user has not read may have changed.
func (h *Hub) Unread(user ID) {}
