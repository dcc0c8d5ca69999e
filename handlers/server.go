package handlers

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"runtime"
	"syscall"
	"time"
)

// NewServer returns the HTTP server round the application, with the limits that keep a slow or
// hostile peer from holding more than a connection. It has no global read or write timeout,
// which would cut streams: ordinary requests get deadlines of their own (bounded), and the feed
// aborts writes that hang. Shutdown ends the streams first.
//
// Under HTTP/2 a write can hang in the connection, where the deadline of a stream does not reach
// it: a connection that answers no ping is closed, and a stream that hangs closes its own (hangUp).
// (WriteByteTimeout would set two deadlines for each write, and cost a sixteenth of all.)
func NewServer(o Options) *http.Server {
	s := &http.Server{
		Handler:           New(o),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    headerLimit + 8<<10, // beyond its own limit net/http answers with a bare line, or under HTTP/2 with none; up to there it is ours that counts
		HTTP2: &http.HTTP2Config{
			MaxEncoderHeaderTableSize: 1, // what it remembers to save bytes would be 2 KiB for each who only listens
			SendPingTimeout:           30 * time.Second,
			PingTimeout:               15 * time.Second,
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if secure, ok := c.(*tls.Conn); ok {
				c = secure.NetConn()
			}
			expectAnswers(c)
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	s.RegisterOnShutdown(o.Hub.Close)
	return s
}

type connKey struct{} // of a request's connection, below TLS

const (
	silenceDeadline = 45 * time.Second // what HTTP/2 takes to give up
	tcpUserTimeout  = 18               // TCP_USER_TIMEOUT of Linux, which package syscall does not name
)

// expectAnswers makes a connection fail whose peer acknowledges nothing for silenceDeadline.
// HTTP/1.1 has no ping, and TCP alone goes on for a quarter of an hour: for so long somebody who
// has closed a laptop would still be here.
func expectAnswers(c net.Conn) {
	socket, ok := c.(syscall.Conn)
	if !ok || runtime.GOOS != "linux" {
		return
	}
	if raw, err := socket.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { // where it fails, TCP's own patience decides
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(silenceDeadline.Milliseconds()))
		})
	}
}
