package models

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// An imported key comes into the folder while no server runs, mostly because none can start without
// it. It waits in a file there, a line of JSON for each, until the next process that opens the folder
// writes it down. Nothing is believed of that file but that a key of some name was imported.
const untoldName = "untold"

type untold struct {
	Key  string    `json:"imported_key"`
	Time time.Time `json:"time"`
}

var keyNameForm = regexp.MustCompile(`^[0-9a-f]{8}$`)

const untoldMost = 100 // lines: whoever can write there could let the log grow

// tellImport has it written down that a key was imported: by the server that runs on the folder, else
// by the next one.
func tellImport(o Options, key string) error {
	told, err := tell(o, EventKeyImport, key)
	if err != nil || told {
		return err
	}
	line, err := json.Marshal(untold{key, time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(o.Dir, untoldName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// tellUntold writes down what has waited for that.
func (s *Store) tellUntold(ctx context.Context) error {
	path := filepath.Join(s.o.Dir, untoldName)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	err = s.act(ctx, func(t *act) error {
		lines := bufio.NewScanner(f)
		for i := 0; i < untoldMost && lines.Scan(); i++ {
			var u untold
			if json.Unmarshal(lines.Bytes(), &u) != nil || !keyNameForm.MatchString(u.Key) {
				continue
			}
			outcome := fmt.Sprintf("at %s, while no server ran", u.Time.UTC().Format("2006-01-02 15:04:05"))
			if err := t.audit(Audit{Event: EventKeyImport, Object: u.Key, Outcome: outcome}); err != nil {
				return err
			}
		}
		return lines.Err()
	})
	if err != nil {
		return err
	}
	return os.Remove(path)
}
