package feed

// Typing says that somebody is writing in a room.
func (h *Hub) Typing(topic, user ID) {}

// Unread says that what a user has not read may have changed.
func (h *Hub) Unread(user ID) {}
