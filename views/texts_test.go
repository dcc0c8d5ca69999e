package views

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/a-h/templ"
	"golang.org/x/net/html"
)

// read are the attributes that people see or hear.
var read = []string{"alt", "aria-description", "aria-label", "aria-roledescription", "aria-valuetext", "data-label", "label", "placeholder", "title"}

// told are the parts that show what they are given, with the place of the first text among their arguments.
var told = map[string]int{"sentence": 0, "counted": 1, "filled": 0, "submit": 0, "plain": 0, "problem": 0, "linked": 1, "copyButton": 1, "tableBox": 0, "codeField": 0}

// language is what looks like words for people and not like a name, an address or a class.
var language = regexp.MustCompile(`^\p{Lu}\p{Ll}|\pL[,.:;?!]? \{?\pL`)

// Whoever translates the pages finds every text of a view among the constants at its top.
func TestTheTextsOfAViewStandAtItsTop(t *testing.T) {
	files, err := filepath.Glob("*.templ")
	if err != nil || len(files) == 0 {
		t.Fatal("no templates", err)
	}
	for _, name := range files {
		name = strings.TrimSuffix(name, ".templ")
		for _, text := range loose(t, name+"_templ.go") {
			t.Errorf("%s.templ: %q is no constant", name, text)
		}
	}
}

// loose are the texts of a generated view that are written in its markup or its functions.
func loose(t *testing.T, file string) []string {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, d := range tree.Decls {
		if g, ok := d.(*ast.GenDecl); ok && (g.Tok == token.CONST || g.Tok == token.IMPORT) {
			continue
		}
		var markup strings.Builder // what the view writes, with a digit in brackets for each of its values
		var values [][]string      // the literals in them
		ast.Inspect(d, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				switch called(n) {
				case "WriteString":
					if len(n.Args) == 3 {
						markup.WriteString(words(n.Args[2])[0])
						return false
					}
				case "JoinStringErrs", "JoinURLErrs":
					markup.WriteString("⟦" + strconv.Itoa(len(values)) + "⟧")
					values = append(values, words(n.Args[0]))
				default:
					if first, ok := told[called(n)]; ok {
						for _, a := range n.Args[min(first, len(n.Args)):] {
							if text, ok := a.(*ast.BasicLit); ok {
								found = append(found, letters(words(text))...)
							}
						}
					}
				}
			case *ast.CompositeLit: // templ notes where a mistake happened
				if s, ok := n.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Error" {
					return false
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && (key.Name == "Label" || key.Name == "Hint") {
					found = append(found, letters(words(n.Value))...)
				}
			case *ast.BasicLit:
				for _, text := range words(n) {
					if language.MatchString(text) && !strings.Contains(text, "settle:") { // of htmx
						found = append(found, text)
					}
				}
			}
			return true
		})
		found = append(found, written(markup.String(), values)...)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// written are the words that stand in a markup where people read, and in the values put there.
func written(markup string, values [][]string) []string {
	var found []string
	look := func(text string) {
		text = regexp.MustCompile(`⟦\d+⟧`).ReplaceAllStringFunc(text, func(value string) string {
			n, _ := strconv.Atoi(strings.Trim(value, "⟦⟧"))
			found = append(found, letters(values[n])...)
			return ""
		})
		found = append(found, letters([]string{strings.TrimSpace(text)})...)
	}
	bare := regexp.MustCompile(`</?noscript>`).ReplaceAllString(markup, "") // what stands in it would be no markup to the tokenizer
	z := html.NewTokenizer(strings.NewReader(bare))
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		token := z.Token()
		if kind == html.TextToken {
			look(token.Data)
		}
		for _, a := range token.Attr {
			if slices.Contains(read, a.Key) {
				look(a.Val)
			}
		}
	}
	return found
}

// called is the name of what a call calls.
func called(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// words are the literals of an expression.
func words(n ast.Node) []string {
	var list []string
	ast.Inspect(n, func(n ast.Node) bool {
		if b, ok := n.(*ast.BasicLit); ok && b.Kind == token.STRING {
			if text, err := strconv.Unquote(b.Value); err == nil {
				list = append(list, text)
			}
		}
		return true
	})
	return list
}

func letters(texts []string) []string {
	return slices.DeleteFunc(texts, func(text string) bool {
		return strings.IndexFunc(text, unicode.IsLetter) < 0 || strings.HasPrefix(text, "/")
	})
}

func TestASentenceHasAPlaceForEachPart(t *testing.T) {
	if got := render(t, sentence("Nobody in {} & {}.", bdi("<b>"), linked("/x", "there"))); got != `Nobody in <bdi>&lt;b&gt;</bdi> &amp; <a href="/x">there</a>.` {
		t.Error(got)
	}
	if got := filled("End {} of {}.", "{} <b>", "Ada"); got != "End {} <b> of Ada." {
		t.Error(got)
	}
	if one, many := render(t, counted(1, "One room", "{} rooms")), render(t, counted(1200, "One room", "{} rooms")); one != "One room" || many != "<local-number>1200</local-number> rooms" {
		t.Error(one, many)
	}
	for _, parts := range [][]templ.Component{nil, {plain("a"), plain("b")}} {
		if err := sentence("one {}", parts...).Render(t.Context(), new(strings.Builder)); err == nil {
			t.Errorf("%d parts have no place and no error", len(parts))
		}
	}
}
