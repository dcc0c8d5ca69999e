package models

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"

	"gorm.io/gorm"
)

// A reading mark says up to which entry of a room's log a member has read, and how many posts
// there were up to it. What is unread is then a difference of two numbers of the log: the posts
// at its end less the posts at the mark. A message that was removed stays counted in both.
//
// Marks are a convenience and prove nothing, so no key guards them. Whoever writes the database
// can shift them; what stands there is kept within what the log can hold, and the next mark that
// the member sets puts it right.

// Unread is what a member has not read of a room.
type Unread struct {
	Room  ID
	Count uint64 // posts after the mark
	Mark  uint64 // everything up to this entry is read
}

// What is read for it: an index lookup in each of four tables, for each room.
const (
	unreadColumns = "m.room_id, k.n, k.posts, r.head_n, l.posts"
	unreadTables  = " FROM memberships m JOIN rooms r ON r.id = m.room_id LEFT JOIN room_log l ON l.room_id = m.room_id AND l.n = r.head_n " +
		"LEFT JOIN marks k ON k.room_id = m.room_id AND k.user_id = m.user_id WHERE m.user_id = ?"
	unreadEverywhere = "SELECT " + unreadColumns + unreadTables
	unreadHere       = unreadEverywhere + " AND m.room_id = ?"
)

// Unread tells what the user has not read of every room that the user is a member of, in the
// order of their ids.
func (s *Store) Unread(ctx context.Context, user ID) ([]Unread, error) {
	var list []Unread
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		found, err := readUnread(ctx, db, unreadEverywhere, user)
		if err != nil {
			return err
		}
		list = nil
		for _, u := range found {
			_, err := s.membership(ctx, db, u.Room, user)
			if KindOf(err) == NotFound {
				continue // the log does not know of it
			}
			if err != nil {
				return err
			}
			list = append(list, u)
		}
		return nil
	})
	slices.SortFunc(list, func(a, b Unread) int { return bytes.Compare(a.Room[:], b.Room[:]) })
	return list, err
}

// readUnread reads what a query finds, for memberships that have to be verified.
func readUnread(ctx context.Context, db gorm.ConnPool, query string, args ...any) ([]Unread, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Unread
	for rows.Next() {
		var room ID
		var n, posts, headN, headPosts number
		if err := rows.Scan(&room, &n, &posts, &headN, &headPosts); err != nil {
			return nil, err
		}
		list = append(list, unreadBetween(room, n, posts, headN, headPosts))
	}
	return list, rows.Err()
}

// unreadBetween subtracts, whatever the numbers are: a mark lies between 0 and the end of the
// log, and between two entries there are no more posts than entries. Without a mark nothing is
// known, and so nothing is claimed.
func unreadBetween(room ID, n, posts, headN, headPosts number) Unread {
	headN = max(headN, 0)
	headPosts = min(max(headPosts, 0), headN)
	if n == noNumber || posts == noNumber {
		return Unread{Room: room, Mark: uint64(headN)}
	}
	n, posts = min(max(n, 0), headN), min(max(posts, 0), headPosts)
	return Unread{Room: room, Count: uint64(min(headPosts-posts, headN-n)), Mark: uint64(n)}
}

// MarkRead notes that the member has read everything up to the entry n, or up to the end when
// the log does not reach that far. A mark only moves forward. The user's other pages are told.
func (s *Store) MarkRead(ctx context.Context, m Membership, n uint64) error {
	return s.lane.do(ctx, func(c *change) error {
		if _, err := s.membership(c.ctx, c.db, m.Room, m.User); err != nil {
			return err
		}
		var at, posts, head number
		err := c.row(`SELECT r.head_n, coalesce(l.n, 0), coalesce(l.posts, 0) FROM rooms r
			LEFT JOIN room_log l ON l.room_id = r.id AND l.n = min(?, r.head_n) WHERE r.id = ?`, int64(min(n, math.MaxInt64)), m.Room).Scan(&head, &at, &posts)
		if err != nil {
			return noRow(err, errNotFound)
		}
		at, posts = max(at, 0), max(posts, 0)
		// What stands beyond the end of the log, or is not this entry's number of posts, was not
		// written by this program.
		result, err := c.db.ExecContext(c.ctx, `INSERT INTO marks (room_id, user_id, n, posts) VALUES (?1, ?2, ?3, ?4)
			ON CONFLICT (room_id, user_id) DO UPDATE SET n = excluded.n, posts = excluded.posts
			WHERE marks.n < excluded.n OR marks.n > ?5 OR marks.n = excluded.n AND marks.posts <> excluded.posts`,
			m.Room, m.User, int64(at), int64(posts), int64(head))
		if err != nil {
			return err
		}
		moved, err := result.RowsAffected()
		if err != nil {
			return fmt.Errorf("mark: %w", err)
		}
		if moved > 0 {
			c.after = append(c.after, func() { s.o.Hub.Unread(m.User) })
		}
		return nil
	})
}

// startMark sets the mark of a new member: what was said before is not news.
func (c *change) startMark(joined *Entry) error {
	return c.exec(`INSERT INTO marks (room_id, user_id, n, posts) VALUES (?, ?, ?, ?)
		ON CONFLICT (room_id, user_id) DO UPDATE SET n = excluded.n, posts = excluded.posts`,
		joined.Room, joined.Target, joined.N, joined.Posts)
}

// ownPost moves the author's mark over the author's own message, if nothing before it is unread.
func (c *change) ownPost(e *Entry) error {
	return c.exec("UPDATE marks SET n = ?, posts = ? WHERE room_id = ? AND user_id = ? AND posts = ?", e.N, e.Posts, e.Room, e.Actor, e.Posts-1)
}

// dropMark forgets what a member who is none any more has read.
func (c *change) dropMark(room, user ID) error {
	return c.exec("DELETE FROM marks WHERE room_id = ? AND user_id = ?", room, user)
}
