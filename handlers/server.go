package handlers

import (
	"net/http"
	"time"
)

// NewServer returns the HTTP server round the application, with the limits that keep a slow or
// hostile peer from holding more than a connection. It has no global read or write timeout,
// which would cut streams: ordinary requests get deadlines of their own (bounded), the feed one
// for each write. Shutdown ends the streams first.
//
// Under HTTP/2 a write can hang in the connection where the deadline of a stream does not reach
// it, so a connection that takes no byte for frameDeadline, or answers no ping, is closed.
func NewServer(o Options) *http.Server {
	s := &http.Server{
		Handler:           New(o),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    16 << 10,
		HTTP2: &http.HTTP2Config{
			WriteByteTimeout: frameDeadline,
			SendPingTimeout:  30 * time.Second,
			PingTimeout:      15 * time.Second,
		},
	}
	s.RegisterOnShutdown(o.Hub.Close)
	return s
}
