package models

import "context"

// proveRooms walks every room's log once after the start, beside normal work.
func (s *Store) proveRooms(ctx context.Context) {
	told, err := s.readLedger(ctx)
	s.proofs.tick() // what was read before the ledger knew all is read again
	if err != nil && ctx.Err() == nil {
		s.o.Log.Error("the audit log could not be read", "error", err)
	}
	rooms, err := s.roomIDs(ctx)
	if err != nil && ctx.Err() == nil {
		s.o.Log.Error("the rooms' logs could not be walked; pages prove only what they show", "error", err)
	}
	s.integrity.set(func(i *integrity) { i.rooms = len(rooms) })
	for _, room := range rooms {
		w := s.newWalker(room, func(n uint64, class, what string) { s.fault(room, n, class, what) })
		if err := w.run(ctx, s.readPool()); ctx.Err() != nil {
			return
		} else if err != nil {
			s.fault(room, w.n, faultLog, "the room's log could not be read: "+err.Error())
			continue
		}
		if !w.gone {
			w.doubt(told)
			s.proofs.walked(w)
			if w.unsure { // who has listened since the start may see less than it seemed
				s.o.Hub.ReleaseTopic(room)
			}
		}
		s.tally.walked(w.days)
		s.integrity.set(func(i *integrity) { i.walked++ })
	}
	s.integrity.set(func(i *integrity) { i.finished = err == nil })
	if err := s.measureAll(ctx); err != nil && ctx.Err() == nil {
		s.o.Log.Error("the sizes of the rooms could not be counted", "error", err)
	}
}

func (s *Store) roomIDs(ctx context.Context) ([]ID, error) {
	return column[ID](ctx, s.readPool(), "SELECT id FROM rooms ORDER BY id")
}
