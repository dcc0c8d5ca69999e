package operator

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"conclave/models"
)

type (
	rotate     struct{}
	destroyKey struct {
		ID string `arg:"" help:"The key's eight digits."`
	}
	export struct {
		Passphrase bool `help:"Ask for a passphrase and seal the key under it."`
	}
	importKey struct {
		File string `arg:"" help:"What keys export printed."`
	}
)

func (rotate) Run(o models.Options) error { return ask(o, models.CommandRotate, "") }

func (d destroyKey) Run(o models.Options) error { return ask(o, models.CommandDestroyKey, d.ID) }

func (e export) Run(o models.Options) error {
	passphrase := ""
	if e.Passphrase {
		var err error
		if passphrase, err = askPassphrase(); err != nil {
			return err
		}
	}
	text, err := models.ExportKey(o, passphrase)
	if err == nil {
		tell(o, models.EventKeyExport)
		fmt.Print(text)
	}
	return err
}

func (i importKey) Run(o models.Options) error {
	text, err := os.ReadFile(i.File)
	if err != nil {
		return err
	}
	passphrase := ""
	if models.ExportIsSealed(string(text)) {
		if passphrase, err = askPassphrase(); err != nil {
			return err
		}
	}
	path, err := models.ImportKey(o, string(text), passphrase)
	if err == nil {
		fmt.Println("The key is in", path)
	}
	return err
}

// askPassphrase reads one line from standard input, so that a script can give it without its
// standing in the list of processes.
func askPassphrase() (string, error) {
	if info, err := os.Stdin.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprint(os.Stderr, "Passphrase: ")
	}
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.Join(errors.New("there was no passphrase"), err)
	}
	return line, nil
}
