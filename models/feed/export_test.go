package feed

// Next waits for the next block, as a stream without Drain does. It returns nil once the subscription
// is over.
func (s *Subscription) Next() *Block {
	for {
		if b := s.Take(); b != nil {
			return b
		}
		if s.Reason() != Open {
			return nil
		}
		<-s.Woken()
	}
}
