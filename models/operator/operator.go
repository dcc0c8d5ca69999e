// Package operator is what an operator does with a data folder from the command line: check it, look after its
// keys and its people, back it up. A command that changes something is carried out by the server that runs on the
// folder, if one does (models.Ask), so that there is one writer.
package operator

import (
	"context"
	"fmt"
	"os"

	"conclave/models"
)

// Commands is that part of the command line. Each command is run with the options of a store on the folder.
type Commands struct {
	Verify verify `cmd:"" help:"Check the whole history; exit code 1 when something is not what was written."`
	Keys   struct {
		Rotate  rotate     `cmd:"" help:"Wrap every secret under a new master key."`
		Destroy destroyKey `cmd:"" help:"Delete the file of a master key that opens nothing any more."`
		Export  export     `cmd:"" help:"Print the master key, to keep it apart from the database."`
		Import  importKey  `cmd:"" help:"Put an exported master key back."`
	} `cmd:"" help:"Rotate, destroy, export or import the master key."`
	Users struct {
		List    users   `cmd:"" help:"Show everybody who has an account."`
		Promote promote `cmd:"" help:"Make somebody an administrator."`
		Demote  demote  `cmd:"" help:"Take that away again."`
		Disable disable `cmd:"" help:"Sign somebody out everywhere and keep them out."`
		Enable  enable  `cmd:"" help:"Let somebody in again, also after too many failed logins."`
		Reset   reset   `cmd:"" help:"Print a link with which somebody sets a new password, once, within half an hour."`
	} `cmd:"" help:"Look after people's accounts."`
	Backup  backup  `cmd:"" help:"Write the database and its anchors, without keys, into one file."`
	Restore restore `cmd:"" help:"Put a backup into the data folder."`
}

// ask has the running server do something, or does it if there is none, and prints the answer.
func ask(o models.Options, command, name string) error {
	text, err := models.Ask(context.Background(), o, command, name)
	if err == nil {
		fmt.Println(text)
	}
	return err
}

// tell lets the running server, if there is one, write down what a command has done beside it.
func tell(o models.Options, event string) {
	if err := models.Tell(o, event); err != nil {
		fmt.Fprintln(os.Stderr, "conclave: the running server could not note this in its audit log:", err)
	}
}
