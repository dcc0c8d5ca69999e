package models

import (
	"bytes"
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"
)

// cipher/FORMAT.md describes an entry of the audit log; its worked example was made elsewhere.
func TestAnAuditEntryIsEncodedAsTheFormatSays(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("cipher/FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^audit_entry += ([0-9a-f]+(?:\n +[0-9a-f]+)*)$`).FindSubmatch(text)
	if found == nil {
		t.Fatal("the format has no example of an audit entry")
	}
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(found[1])), ""))
	if err != nil {
		t.Fatal(err)
	}
	a := Audit{Event: "room.create", Object: "726f6f6d3a206c61626f7261746f7279", Outcome: "done"}
	copy(a.Actor[:], "user: Ada Lovelace")
	if got := a.encoded(1, 1_790_000_000_000); !bytes.Equal(got, want) {
		t.Errorf("it is encoded as %x", got)
	}
}
