package handlers

import (
	"context"
	"net"
	"net/http"
	"time"
)

// NewServer returns the HTTP server round the application, with the limits that keep a slow or
// hostile peer from holding more than a connection. It has no global read or write timeout,
// which would cut streams: ordinary requests get deadlines of their own (bounded), and the feed
// aborts writes that hang. Shutdown ends the streams first.
//
// Under HTTP/2 a write can hang in the connection, where the deadline of a stream does not reach
// it: a connection that answers no ping is closed, and a stream that hangs frees its own (unhang).
// (WriteByteTimeout would set two deadlines for each write, and cost a sixteenth of all.)
func NewServer(o Options) *http.Server {
	s := &http.Server{
		Handler:           New(o),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    16 << 10,
		HTTP2: &http.HTTP2Config{
			MaxEncoderHeaderTableSize: 1, // what it remembers to save bytes would be 2 KiB for each who only listens
			SendPingTimeout:           30 * time.Second,
			PingTimeout:               15 * time.Second,
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	s.RegisterOnShutdown(o.Hub.Close)
	return s
}

type connKey struct{}

// unhang makes a write fail that hangs in the connection of a request, and leaves the connection
// alone when none does.
func unhang(ctx context.Context) {
	const soon = time.Second
	if c, ok := ctx.Value(connKey{}).(net.Conn); ok {
		c.SetWriteDeadline(time.Now().Add(soon))
		time.AfterFunc(soon+soon/2, func() { c.SetWriteDeadline(time.Time{}) })
	}
}
