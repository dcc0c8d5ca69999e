package operator

import (
	"context"
	"errors"
	"fmt"

	"conclave/models"
)

type (
	backup struct {
		File string `arg:"" help:"A file that does not exist yet."`
	}
	restore struct {
		File string `arg:"" help:"A backup."`
	}
)

func (b backup) Run(o models.Options) error {
	store, err := models.OpenToRead(o)
	if err != nil {
		return err
	}
	if err := errors.Join(store.Backup(context.Background(), b.File), store.Close()); err != nil {
		return err
	}
	tell(o, models.EventBackup)
	fmt.Println("The backup is in", b.File, "and holds no key. Keep a copy of the key apart from it: conclave keys export")
	return nil
}

func (r restore) Run(o models.Options) error {
	kept, err := models.Restore(r.File, o.Dir)
	if err != nil {
		return err
	}
	fmt.Println("The backup is restored to", o.Dir)
	if kept != "" {
		fmt.Println("The database that was there is now", kept)
	}
	return nil
}
