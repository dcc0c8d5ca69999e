package models

import (
	"testing"

	"conclave/models/cipher"
)

func TestOnlyTheOwnerGivesTheRoomANewKeyAndTheOldOneStillReads(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	before := m.say(m.ada, m.room, "Under the first key")
	if err := m.TurnEpoch(t.Context(), m.member(m.grace, m.room)); KindOf(err) != Denied {
		t.Errorf("a plain member turns the epoch: %v", err)
	}
	if err := m.TurnEpoch(t.Context(), m.member(m.ada, m.room)); err != nil {
		t.Fatal(err)
	}
	after := m.say(m.grace, m.room, "Under the second key")
	for n, want := range map[uint64]uint32{before: 1, after: 2} {
		if got := cipher.EpochOf(m.envelope("SELECT envelope FROM messages WHERE room_id = ? AND n = ?", m.room, n)); got != want {
			t.Errorf("message %d is sealed in epoch %d, want %d", n, got, want)
		}
	}
	m.reopen() // no key is remembered
	if got := m.history(m.grace, m.room); len(got) != 2 || got[0] != "Under the first key" {
		t.Errorf("the room shows %q", got)
	}
}
