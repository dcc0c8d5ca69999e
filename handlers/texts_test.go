package handlers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// language is what looks like words for people and not like a name, an address or a class.
var language = regexp.MustCompile(`^\p{Lu}\p{Ll}|\pL[,.:;?!]? \{?\pL|^ \pL|\pL $`)

// forPrograms are the calls whose words no page shows: the server's log, errors that end there, and
// what programs say to each other.
var forPrograms = []string{"Debug", "Info", "Warn", "Error", "Errorf", "New", "Get", "Set", "Add", "Del", "Values", "Header", "String"}

// elsewhere are the declarations whose words are no language: names of programs, the syntax of HTTP.
var elsewhere = []string{"browserNames", "systemNames", "contentPolicy", "requestIDKey"}

// syntax is what a protocol says: the kind of a content, an event of a stream, the name of a header.
var syntax = regexp.MustCompile(`^[a-z]+(/[a-z-]+)?; [a-z]+=|^event: |^([A-Z][A-Za-z]*-)+[A-Z][A-Za-z]*$`)

// verb is a place in a format, with what stands closely around it.
var verb = regexp.MustCompile(`\w*%\d*[a-z]\w*`)

// Whoever translates the pages need not read the handlers: what they put into a page is a constant of
// the view that shows it.
func TestNoHandlerHoldsASentence(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		read++
		positions := token.NewFileSet()
		tree, err := parser.ParseFile(positions, f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range sentencesIn(tree) {
			t.Errorf("%v: %s belongs into a view", positions.Position(found.Pos()), found.Value)
		}
	}
	if read < 20 {
		t.Error("too few files were read:", read)
	}
}

func TestASentenceInAHandlerIsFound(t *testing.T) {
	for source, want := range map[string]int{
		`return a.noted(c, "Saved.", "/account")`:                             1,
		`return fmt.Sprintf("%s may come back.", name)`:                       1,
		`return name + " was removed."`:                                       1,
		`return &models.Error{Kind: models.Denied, Msg: "forbidden"}`:         1,
		`a.sessions.Put(ctx, keyNotice, "gone")`:                              1,
		`a.o.Log.Error("a session could not be stored", "error", err)`:        0,
		`c.Response().Header().Set("Retry-After", "5")`:                       0,
		`return seeOther(c, "/rooms/"+room.String()+"/members")`:              0,
		`return &models.Error{Kind: models.Denied, Msg: views.RoomOwnerOnly}`: 0,
	} {
		tree, err := parser.ParseFile(token.NewFileSet(), "", "package handlers\nfunc f() {\n"+source+"\n}", 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(sentencesIn(tree)); got != want {
			t.Errorf("%d sentences in %s", got, source)
		}
	}
}

// sentencesIn are the literals of a file that a person reads.
func sentencesIn(file *ast.File) (found []*ast.BasicLit) {
	every := func(n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING && l.Value != `""` {
				found = append(found, l)
			}
			return true
		})
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.ValueSpec:
			return !slices.Contains(elsewhere, n.Names[0].Name)
		case *ast.KeyValueExpr: // every word of an error, even a single one
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Msg" {
				every(n.Value)
				return false
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok {
				if f.Sel.Name == "Put" && len(n.Args) == 3 && identifier(n.Args[1]) == "keyNotice" {
					every(n.Args[2])
					return false
				}
				if slices.Contains(forPrograms, f.Sel.Name) {
					return false
				}
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING && !syntax.MatchString(text) && language.MatchString(verb.ReplaceAllString(text, "")) {
				found = append(found, n)
			}
		}
		return true
	})
	return found
}

func identifier(n ast.Expr) string {
	if i, ok := n.(*ast.Ident); ok {
		return i.Name
	}
	return ""
}
