package models

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// status returns what members are told about a room: whether its log is damaged, so that
// nothing can be added, and whether anything that it shows is.
func (p *proofs) status(room ID) (damage string, harmed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.of(room)
	return r.damage, r.harmed || r.damage != ""
}

// harms lists the rooms in which something is damaged, in the order of their ids.
func (p *proofs) harms() []Harm {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []Harm
	for room, r := range p.rooms {
		if r.harmed || r.damage != "" {
			list = append(list, Harm{room, cmp.Or(r.damage, r.harm), r.damage != ""})
		}
	}
	slices.SortFunc(list, func(a, b Harm) int { return bytes.Compare(a.Room[:], b.Room[:]) })
	return list
}

// fault is damage that verification met: it is written down, once a minute for each place, and
// shown in the room. Nothing is repaired.
func (s *Store) fault(room ID, n uint64, class, what string) {
	s.proofs.mu.Lock()
	r := s.proofs.of(room)
	r.harmed, r.harm = true, cmp.Or(r.harm, what)
	if class == faultLog && r.damage == "" {
		r.damage = what
	}
	s.proofs.mu.Unlock()
	if s.alarm.due(class+room.String(), s.o.Now()) {
		s.recordFault(class, fmt.Sprintf("%s %d", room, n), what)
	}
}

// alarmOn writes down damage that is in no room.
func (s *Store) alarmOn(class, object string) {
	if s.alarm.due(class+object, s.o.Now()) {
		s.recordFault(class, object, "failed its integrity check and is ignored")
	}
}

// recordFault works beside whatever was being read when the damage was met.
func (s *Store) recordFault(class, object, what string) {
	s.o.Log.Error("integrity check failed", "class", class, "object", object, "what", what)
	if s.life.Err() == nil {
		s.tasks.Go(func() { s.record(Audit{Event: "integrity." + class, Object: object, Outcome: what}) })
	}
}

// Classes of damage.
const (
	faultLog     = "log"     // an entry of the log, or its order
	faultMessage = "message" // an envelope
	faultKey     = "key"     // a room's secret, name or code
	faultMember  = "member"  // a membership that the log does not know
	faultSetting = "setting" // what newcomers see is not what the log says
	faultProfile = "profile"
	faultPasskey = "passkey"
	faultSession = "session"
	faultAudit   = "audit"
	faultToken   = "token"
)
