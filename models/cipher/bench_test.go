package cipher

import (
	"bytes"
	"testing"
)

// The bar: 2 microseconds and 2 allocations for a message of 200 bytes.

func BenchmarkSeal200(b *testing.B) {
	key, place, body := NewRoomKey(lab, 1), hello, bytes.Repeat([]byte("x"), 200)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := key.SealMessage(place, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen200(b *testing.B) {
	key, place, body := NewRoomKey(lab, 1), hello, bytes.Repeat([]byte("x"), 200)
	envelope, _ := key.SealMessage(place, body)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := key.OpenMessage(place, envelope); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	chain := NewService().Chain(lab)
	head := chain.Genesis()
	b.ReportAllocs()
	for b.Loop() {
		head = chain.Next(head, Link{N: 1, Op: 1, Target: MessageTarget(1)})
	}
}
