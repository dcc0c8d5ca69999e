package handlers

import "testing"

func BenchmarkQRCode(b *testing.B) {
	for b.Loop() {
		if _, err := qrCode("https://127.0.0.1:8443/join#ABCD-EFGH-JKMN-PQRS"); err != nil {
			b.Fatal(err)
		}
	}
}
