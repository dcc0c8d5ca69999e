package models

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"gorm.io/gorm"
)

// WaitingAccount is an account that nobody can sign in to at the moment, because too many tries have failed.
type WaitingAccount struct {
	Profile
	Failures int // since the last success
	Guessed  int // how many of them came with the right password
	Since    time.Time
	Last     time.Time
	Until    time.Time // zero: until the wait is lifted
}

// WaitingAccounts lists the accounts that have to wait, the one with the most failures first. Only an
// administrator may be shown them.
func (s *Store) WaitingAccounts(ctx context.Context) (list []WaitingAccount, err error) {
	err = s.snapshot(ctx, func(db gorm.ConnPool) error {
		list = nil
		rows, err := db.QueryContext(ctx, `SELECT user_id, failures, guessed, since_ms, last_ms, until_ms FROM attempts
			WHERE length(user_id) = 16 AND (until_ms > ? OR failures >= ?) ORDER BY failures DESC LIMIT 200`, s.now(), locksAccount)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var w WaitingAccount
			var failures, guessed, since, last, until number
			if err := rows.Scan(&w.ID, &failures, &guessed, &since, &last, &until); err != nil {
				return err
			}
			w.Failures, w.Guessed = int(failures), int(guessed)
			w.Since, w.Last = time.UnixMilli(int64(since)), time.UnixMilli(int64(last))
			if w.Failures < locksAccount {
				w.Until = time.UnixMilli(int64(until))
			}
			list = append(list, w)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		names := s.profiles(ctx, db)
		for i := range list {
			if list[i].Profile, err = names.person(list[i].ID); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

// Lift ends an account's wait: its failures are forgotten. It is a Conflict when there is none. Only
// an administrator may ask for it.
func (s *Store) Lift(ctx context.Context, by By, user ID) error {
	return s.act(ctx, func(t *act) error {
		rows, err := t.unlock(user)
		if err != nil {
			return err
		}
		if rows == 0 {
			return &Error{Kind: Conflict, Msg: "This account does not wait any more."}
		}
		return t.audit(by.audit("attempts.lift", user.String(), "done"))
	})
}

// Source is from where refused sign-ins came (Household), and how many.
type Source struct {
	Address string
	Refused int
	Last    time.Time
	Limited bool // it has to wait now

	from string // one address of it, as it is counted
}

// Sources adds up from where refused sign-ins came, the most first and at most so many. Of one address
// the newest is expected first.
func (s *Store) Sources(ctx context.Context, events []AuditEntry, most int) ([]Source, error) {
	var list []Source
	for _, e := range events {
		if e.Damaged != "" || !refusal(e.Event) {
			continue
		}
		address := Household(e.Address)
		i := slices.IndexFunc(list, func(s Source) bool { return s.Address == address })
		if i < 0 {
			i = len(list)
			list = append(list, Source{Address: address, Last: e.At, from: e.Address})
		}
		list[i].Refused++
	}
	slices.SortStableFunc(list, func(a, b Source) int { return b.Refused - a.Refused })
	list = list[:min(len(list), most)]
	for i := range list {
		var err error
		if list[i].Limited, err = s.limited(ctx, list[i].from); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (s *Store) limited(ctx context.Context, address string) (limited bool, err error) {
	err = s.reading(ctx, func(h *handle) error {
		for _, c := range s.addressCounters("login", address) {
			a, err := c.row(ctx, h)
			if err != nil {
				return err
			}
			limited = limited || c.wait(a, 0, s.now()) > 0
		}
		return nil
	})
	return limited, err
}

// Household is an address, or the /64 of an IPv6 one, which is what one household gets.
func Household(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return plainAddress(address)
	}
	prefix, _ := ip.WithZone("").Prefix(64) // fails for a length that the family has not
	return prefix.String()
}
