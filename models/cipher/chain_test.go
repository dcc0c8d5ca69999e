package cipher

import (
	"reflect"
	"testing"
)

var testLink = Link{
	N: 7, Op: 2, Target: MessageTarget(7), Actor: ada, Epoch: 3,
	Time: 1_790_000_000_123, Posts: 5, Payload: [32]byte{1, 2, 3},
}

func TestTheHeadChangesWithEveryField(t *testing.T) {
	service := NewService()
	chain := service.Chain(lab)
	genesis := chain.Genesis()
	head := chain.Next(genesis, testLink)
	if chain.Next(genesis, testLink) != head || service.Chain(lab).Next(genesis, testLink) != head {
		t.Fatal("the same entry gives another head")
	}
	differs := func(name string, other [32]byte) {
		t.Helper()
		if other == head || other == genesis {
			t.Errorf("%s does not change the head", name)
		}
	}
	differs("another room", service.Chain(attic).Next(genesis, testLink))
	differs("another service", NewService().Chain(lab).Next(genesis, testLink))
	differs("the room alone", (&Chain{room: attic, mac: chain.mac}).Next(genesis, testLink))
	differs("the head before", chain.Next(head, testLink))

	// Every byte of every field, found by reflection so that none is forgotten.
	for i := range reflect.TypeFor[Link]().NumField() {
		name := reflect.TypeFor[Link]().Field(i).Name
		changed := testLink
		switch f := reflect.ValueOf(&changed).Elem().Field(i); f.Kind() {
		case reflect.Array:
			for j := range f.Len() {
				changed = testLink
				f.Index(j).SetUint(f.Index(j).Uint() ^ 1)
				differs(name, chain.Next(genesis, changed))
			}
		case reflect.Int64:
			for bit := range f.Type().Bits() {
				changed = testLink
				f.SetInt(f.Int() ^ 1<<bit)
				differs(name, chain.Next(genesis, changed))
			}
		default:
			for bit := range f.Type().Bits() {
				changed = testLink
				f.SetUint(f.Uint() ^ 1<<bit)
				differs(name, chain.Next(genesis, changed))
			}
		}
	}
	for i := range genesis {
		changed := genesis
		changed[i] ^= 1
		differs("the head before", chain.Next(changed, testLink))
	}
}

func TestTheEmptyLogsOfTwoRoomsDiffer(t *testing.T) {
	service := NewService()
	if service.Chain(lab).Genesis() == service.Chain(attic).Genesis() ||
		service.Chain(lab).Genesis() == NewService().Chain(lab).Genesis() ||
		service.Chain(lab).Genesis() == (&Chain{room: attic, mac: service.Chain(lab).mac}).Genesis() {
		t.Error("two are the same")
	}
}

func TestAMessageTargetIsItsNumber(t *testing.T) {
	if got, want := MessageTarget(0x0102030405060708), (ID{8: 1, 2, 3, 4, 5, 6, 7, 8}); got != want {
		t.Errorf("%x", got)
	}
}
