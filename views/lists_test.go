package views

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Safari tells VoiceOver of no list where the style took the markers away, unless the markup says that it is one.
func TestEveryListSaysThatItIsOne(t *testing.T) {
	files, err := filepath.Glob("*.templ")
	if err != nil || len(files) == 0 {
		t.Fatal("no templates", err)
	}
	begins := regexp.MustCompile(`<[uo]l\b[^>]*>`)
	for _, name := range files {
		view, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range begins.FindAllString(string(view), -1) {
			if !strings.Contains(list, `role="list"`) {
				t.Errorf("%s: %s", name, list)
			}
		}
	}
}
