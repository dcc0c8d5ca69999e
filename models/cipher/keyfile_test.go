package cipher

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 9, 21, 12, 0, 0, 0, time.UTC)

// createKey makes a key directory with one key file.
func createKey(t *testing.T) (m *Master, path string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data", "keys")
	m, err := CreateKeyFile(dir, noon)
	if err != nil {
		t.Fatal(err)
	}
	return m, filepath.Join(dir, "mk-"+m.Name()+".key")
}

// rewrite changes the text of a key file.
func rewrite(t *testing.T, path string, change func(text string) string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(change(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAKeyFileOpensWhatItsMakerSealed(t *testing.T) {
	m, path := createKey(t)
	loaded, err := LoadKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if loaded.ID() != m.ID() || m.ID() == 0 {
		t.Errorf("ids %08x and %08x", m.ID(), loaded.ID())
	}
	if err := loaded.OpenCheck(m.SealCheck()); err != nil {
		t.Error(err)
	}
	text, _ := os.ReadFile(path)
	for _, part := range []string{"# created 2026-09-21T12:00:00Z\n", "# id " + m.Name() + "\n", "# back this up apart from the database\n", "\nCONCLAVE-MASTER-1-"} {
		if !strings.Contains(string(text), part) {
			t.Errorf("the file has no %q", part)
		}
	}
}

func TestAKeyFileIsPrivateFromTheStart(t *testing.T) {
	_, path := createKey(t)
	for name, mode := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestTwoKeyFilesLiveSideBySide(t *testing.T) {
	first, path := createKey(t)
	before, _ := os.ReadFile(path)
	dir := filepath.Dir(path)
	second, err := CreateKeyFile(dir, noon)
	if err != nil || second.ID() == first.ID() {
		t.Fatal(err)
	}
	for _, stray := range []string{"mk-notes.txt", "readme.key", "mk-1.key~"} {
		os.WriteFile(filepath.Join(dir, stray), nil, 0o600)
	}
	paths, err := FindKeyFiles(dir)
	if err != nil || len(paths) != 2 || paths[0] >= paths[1] {
		t.Errorf("%v, %v", paths, err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the first one changed")
	}
}

func TestNoKeyFilesIsNoError(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "missing")} {
		if paths, err := FindKeyFiles(dir); err != nil || len(paths) != 0 {
			t.Errorf("%v, %v", paths, err)
		}
	}
}

func TestAKeyFileIsNeverOverwritten(t *testing.T) {
	_, path := createKey(t)
	before, _ := os.ReadFile(path)
	if err := writeKeyFile(path, []byte("something else")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("writing gave %v", err)
	}
	dangling := filepath.Join(filepath.Dir(path), "mk-00000001.key")
	os.Symlink(path+".elsewhere", dangling)
	if err := writeKeyFile(dangling, []byte("something else")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("writing through a link gave %v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("it changed")
	}
}

func TestAMissingKeyFileIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "mk-0a1b2c3d.key")
	m, err := LoadKeyFile(path)
	if m != nil || !errors.Is(err, ErrKeyMissing) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v, %v", m, err)
	}
}

func TestAKeyFileOthersCanReachIsNotUsed(t *testing.T) {
	for name, c := range map[string]struct {
		file, dir fs.FileMode
		advice    string
	}{
		"file 0644": {0o644, 0o700, "chmod 600 "},
		"file 0640": {0o640, 0o700, "chmod 600 "},
		"file 0620": {0o620, 0o700, "chmod 600 "},
		"file 0601": {0o601, 0o700, "chmod 600 "},
		"dir 0755":  {0o600, 0o755, "chmod 700 "},
		"dir 0710":  {0o600, 0o710, "chmod 700 "},
		"dir 0701":  {0o600, 0o701, "chmod 700 "},
	} {
		_, path := createKey(t)
		advised := path
		if c.dir != 0o700 {
			advised = filepath.Dir(path)
		}
		os.Chmod(path, c.file)
		os.Chmod(filepath.Dir(path), c.dir)
		if m, err := LoadKeyFile(path); m != nil || !errors.Is(err, ErrKeyModes) || !strings.HasSuffix(err.Error(), c.advice+advised) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
		os.Chmod(path, 0o400)
		os.Chmod(filepath.Dir(path), 0o500)
		if _, err := LoadKeyFile(path); err != nil {
			t.Errorf("%s, then closed: %v", name, err)
		}
		os.Chmod(filepath.Dir(path), 0o700)
	}
}

func TestNoKeyIsMadeWhereOthersCanLook(t *testing.T) {
	dir := t.TempDir()
	os.Chmod(dir, 0o755)
	if m, err := CreateKeyFile(dir, noon); m != nil || !errors.Is(err, ErrKeyModes) {
		t.Errorf("%v, %v", m, err)
	}
	if paths, _ := FindKeyFiles(dir); len(paths) != 0 {
		t.Errorf("made %v", paths)
	}
}

func TestALinkOrADirectoryIsNoKeyFile(t *testing.T) {
	_, path := createKey(t)
	moved := path + ".moved"
	os.Rename(path, moved)
	os.Symlink(moved, path)
	if m, err := LoadKeyFile(path); m != nil || !errors.Is(err, ErrKeyModes) {
		t.Errorf("link: %v, %v", m, err)
	}
	os.Remove(path)
	os.Mkdir(path, 0o700)
	if m, err := LoadKeyFile(path); m != nil || !errors.Is(err, ErrKeyModes) {
		t.Errorf("directory: %v, %v", m, err)
	}
}

// corrupt reports whether this text at this path is refused as damaged.
func corrupt(t *testing.T, name, path, text string) {
	t.Helper()
	rewrite(t, path, func(string) string { return text })
	m, err := LoadKeyFile(path)
	if m != nil || !errors.Is(err, ErrKeyCorrupt) || !strings.Contains(err.Error(), path) {
		t.Errorf("%s: %v, %v", name, m, err)
		return
	}
	for line := range strings.Lines(text) {
		if len(line) > 20 && line[0] != '#' && strings.Contains(err.Error(), line[18:]) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
}

func TestATruncatedKeyFileIsDamaged(t *testing.T) {
	_, path := createKey(t)
	text, _ := os.ReadFile(path)
	for n := range len(text) - 1 { // the last byte is a newline
		corrupt(t, "cut", path, string(text[:n]))
	}
	for n := range len(text) - 1 {
		if n > bytes.IndexByte(text, '\n') {
			corrupt(t, "cut in front", path, string(text[n+1:]))
		}
	}
}

func TestEveryChangedCharacterOfTheKeyIsNoticed(t *testing.T) {
	_, path := createKey(t)
	text, _ := os.ReadFile(path)
	start := bytes.Index(text, []byte(keyPrefix))
	for i := start; i < len(text)-1; i++ {
		for _, c := range []byte("AZaz09-_= \n#") {
			if c != text[i] && (i > start || c != '#') {
				changed := bytes.Clone(text)
				changed[i] = c
				corrupt(t, "changed", path, string(changed))
			}
		}
	}
}

func TestAnEditedKeyFileIsDamaged(t *testing.T) {
	_, path := createKey(t)
	path = filepath.Join(filepath.Dir(path), "mk-0a1b2c3d.key")
	text, id := string(formatKey(0x0a1b2c3d, newSecret(), noon)), "# id 0a1b2c3d"
	if err := writeKeyFile(path, []byte(text)); err != nil {
		t.Fatal(err)
	}
	key := text[strings.Index(text, keyPrefix):]
	for name, changed := range map[string]string{
		"empty":            "",
		"another id":       strings.Replace(text, id, "# id 00000001", 1),
		"id zero":          strings.Replace(text, id, "# id 00000000", 1),
		"id of 7 digits":   strings.Replace(text, id, "# id a1b2c3d", 1),
		"id of 9 digits":   strings.Replace(text, id, "# id 00a1b2c3d", 1),
		"upper-case id":    strings.Replace(text, id, "# id 0A1B2C3D", 1),
		"no id":            strings.Replace(text, id+"\n", "", 1),
		"two ids":          id + "\n" + text,
		"two keys":         text + key,
		"no key":           strings.Replace(text, key, "", 1),
		"key in a comment": strings.Replace(text, keyPrefix, "# "+keyPrefix, 1),
		"lower-case key":   strings.Replace(text, key, strings.ToLower(key), 1),
		"broken line":      text[:len(text)-40] + "\n" + text[len(text)-40:],
		"another version":  strings.Replace(text, keyPrefix, "CONCLAVE-MASTER-2-", 1),
		"other text":       text + "and more\n",
		"zeros":            strings.Repeat("\x00", len(text)),
		"too long":         text + strings.Repeat("# more\n", 1000),
	} {
		corrupt(t, name, path, changed)
	}

	// A mail program or an editor may change line ends; that is no damage.
	rewrite(t, path, func(string) string { return "\n" + strings.ReplaceAll(text, "\n", " \r\n") })
	if _, err := LoadKeyFile(path); err != nil {
		t.Error(err)
	}
}

func TestAKeyFileUnderAnotherNameIsRefused(t *testing.T) {
	m, path := createKey(t)
	for _, name := range []string{"mk-00000001.key", "master.key", "mk-" + strings.ToUpper(m.Name()) + "x.key"} {
		other := filepath.Join(filepath.Dir(path), name)
		os.Rename(path, other)
		if _, err := LoadKeyFile(other); !errors.Is(err, ErrKeyCorrupt) || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%s: %v", name, err)
		}
		os.Rename(other, path)
	}
}
