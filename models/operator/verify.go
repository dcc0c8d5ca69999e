package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"conclave/models"
)

// ErrDamage is what verify ends in when it has found something.
var ErrDamage = errors.New("the history is damaged")

type verify struct {
	JSON bool `name:"json" help:"Print the report as JSON."`
}

func (v verify) Run(o models.Options) error {
	store, err := models.OpenToRead(o)
	if err != nil {
		return err
	}
	report, err := store.Verify(context.Background(), progressBar(v.JSON))
	if err = errors.Join(err, store.Close()); err != nil {
		return err
	}
	if v.JSON {
		if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
			return err
		}
	} else {
		for _, f := range report.Findings {
			fmt.Println(f)
		}
		fmt.Printf("%d rooms, %d entries, %d findings\n", report.Rooms, report.Entries, len(report.Findings))
	}
	if len(report.Findings) > 0 {
		return ErrDamage
	}
	return nil
}

// progressBar draws how far a walk is, on a terminal only.
func progressBar(quiet bool) func(done, all uint64) {
	info, err := os.Stderr.Stat()
	if quiet || err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func(done, all uint64) {}
	}
	const width = 40
	return func(done, all uint64) {
		part := int(min(done, all) * width / max(all, 1))
		fmt.Fprintf(os.Stderr, "\r[%-*s] %d of %d entries", width, strings.Repeat("#", part), done, all)
		if done >= all {
			fmt.Fprint(os.Stderr, "\r\033[K")
		}
	}
}
