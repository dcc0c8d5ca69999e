package models

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// One process owns a data folder. A command that changes something asks that process through
// a socket in the folder, which only its owner can open: one line of JSON there, one back.
const (
	controlName  = "control.sock"
	controlLimit = 10 * time.Minute // a rotation of very many keys
)

// request is one command.
type request struct {
	Command string `json:"command"`
	Name    string `json:"name,omitempty"`
}

// reply is its outcome: a sentence for the operator, or what went wrong.
type reply struct {
	Text  string `json:"text,omitempty"`
	Error string `json:"error,omitempty"`
}

// Commands that change something.
const (
	CommandRotate     = "keys rotate"
	CommandDestroyKey = "keys destroy"

	commandTell = "tell" // see Tell
)

// perform carries a command out in this process.
func (s *Store) perform(ctx context.Context, r request) (string, error) {
	switch r.Command {
	case CommandRotate:
		old, now, err := s.rotate(ctx)
		return fmt.Sprintf("Every secret is now wrapped under the key %s. Copy %s to where you keep its copies, apart from the database; then the old key can go: conclave keys destroy %s",
			now, s.keyPath(now), old), err
	case CommandDestroyKey:
		return fmt.Sprintf("The key %s is destroyed. Copies of it that are kept elsewhere still open old backups.", r.Name), s.destroyKey(ctx, r.Name)
	case CommandUsers, CommandPromote, CommandDemote, CommandDisable, CommandEnable, CommandReset:
		return s.userCommand(ctx, r.Command, r.Name)
	case commandTell:
		return "", s.told(ctx, r.Name)
	}
	return "", fmt.Errorf("this server does not know the command %q: it may be older than the program that asks", r.Command)
}

// control listens on the socket until the store is closed.
func (s *Store) control(ctx context.Context, l net.Listener) {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() == nil {
				s.o.Log.Error("the control socket is closed", "error", err)
			}
			return
		}
		s.tasks.Go(func() { s.answer(ctx, conn) })
	}
}

func (s *Store) answer(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetReadDeadline(time.Now().Add(time.Second))
	var r request
	if err := json.NewDecoder(bufio.NewReader(conn)).Decode(&r); err != nil {
		return // not one of ours
	}
	text, err := s.perform(ctx, r)
	out := reply{Text: text}
	if err != nil {
		out = reply{Error: err.Error()}
		s.o.Log.Error("a command failed", "command", r.Command, "error", err)
	}
	json.NewEncoder(conn).Encode(out) // whoever asked and went away needs no answer
}

// listenControl opens the socket. One that is left from a crash is in nobody's use: the lock is ours.
func (s *Store) listenControl() (net.Listener, error) {
	path := filepath.Join(s.o.Dir, controlName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("the control socket %s cannot be made (its path may be too long): %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Ask carries a command out: in the server that runs on the folder, or here when none does.
func Ask(ctx context.Context, o Options, command, name string) (string, error) {
	r := request{command, name}
	if text, served, err := talk(o.Dir, r, controlLimit); served {
		return text, err
	}
	if err := inUse(o.Dir); err != nil {
		return "", err
	}
	s, err := Open(o)
	if err != nil {
		return "", err
	}
	text, err := s.perform(ctx, r)
	return text, errors.Join(err, s.Close())
}

// talk asks the server that runs on a folder, and waits for so long; served is false when none runs.
func talk(dir string, r request, patience time.Duration) (text string, served bool, err error) {
	conn, err := net.Dial("unix", filepath.Join(dir, controlName))
	if err != nil {
		return "", false, nil
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return "", true, err
	}
	var answer reply
	if err := json.NewDecoder(conn).Decode(&answer); err != nil {
		return "", true, fmt.Errorf("the server ended while it was asked: %w", err)
	}
	if answer.Error != "" {
		return "", true, errors.New(answer.Error)
	}
	return answer.Text, true, nil
}
