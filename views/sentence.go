package views

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/a-h/templ"
)

// Every text that a page shows is a constant at the top of its file. Where something stands
// inside a text (a link, a name, a number) the constant has {} in that place, so whoever
// translates it decides where it goes. What is left literal in the markup is no language.

// sentence is such a text with its parts put in, in turn. A text with more or fewer places than
// there are parts is a mistake of the page, and fails.
func sentence(text string, parts ...templ.Component) templ.Component {
	return templ.ComponentFunc(func(ctx context.Context, w io.Writer) error {
		pieces := strings.Split(text, "{}")
		if len(pieces) != len(parts)+1 {
			return fmt.Errorf("%d parts for the places in %q", len(parts), text)
		}
		for i, piece := range pieces {
			if _, err := io.WriteString(w, templ.EscapeString(piece)); err != nil {
				return err
			}
			if i == len(parts) {
				break
			}
			if err := parts[i].Render(ctx, w); err != nil {
				return err
			}
		}
		return nil
	})
}

// filled is the same for attributes and wherever only plain text may stand.
func filled(text string, values ...string) string {
	var b strings.Builder
	for i, piece := range strings.Split(text, "{}") {
		if i > 0 && i <= len(values) {
			b.WriteString(values[i-1])
		}
		b.WriteString(piece)
	}
	return b.String()
}

// Text is a sentence that a handler fills: it has {} where a word goes that only the handler knows.
type Text string

// With puts plain words into the places, in turn.
func (t Text) With(words ...string) string { return filled(string(t), words...) }

// Isolated keeps a name apart from the text around it, as <bdi> does where there is markup: a name may
// run from right to left.
func Isolated(name string) string { return "\u2068" + name + "\u2069" }

// counted is the form of a sentence that fits a number. The form for one says so in words; the
// other has its first place for the number.
func counted(n int, one, many string, parts ...templ.Component) templ.Component {
	if n == 1 {
		return sentence(one, parts...)
	}
	return sentence(many, append([]templ.Component{figure(n)}, parts...)...)
}

// plural is the form of a text that fits a number. Each language may need more forms than
// these two; they are chosen here and nowhere else.
func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
