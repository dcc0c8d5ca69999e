package certs

import (
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
)

// names are those of a certificate made today: this machine's, as itself and as others on its network see
// it, and hosts. DNS names come first, then addresses, each part sorted.
func names(hosts []string) []string {
	all := append([]string{"localhost", "127.0.0.1", "::1"}, hosts...)
	if host, err := os.Hostname(); err == nil && isName(plain(host)) {
		host = plain(host)
		label, _, _ := strings.Cut(host, ".")
		all = append(all, host, label+".local")
	}
	all = append(all, interfaceAddresses()...)

	slices.SortFunc(all, func(a, b string) int {
		if isAddress(a) != isAddress(b) {
			if isAddress(a) {
				return 1
			}
			return -1
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(all)
}

// interfaceAddresses are those by which others may reach this machine: no loopback, nothing link-local.
func interfaceAddresses() []string {
	var found []string
	addresses, _ := net.InterfaceAddrs() // without them the certificate is still good for the names
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			found = append(found, n.IP.String())
		}
	}
	return found
}

// plain is the one spelling in which hosts are compared: lower case, no final dot, no brackets, addresses in
// their shortest form.
func plain(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")); err == nil {
		return a.Unmap().String()
	}
	return host
}

func isAddress(host string) bool { return net.ParseIP(host) != nil }

var dnsName = regexp.MustCompile(`^(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$`)

// isName says whether host, in its plain form, can stand in a certificate as a DNS name.
func isName(host string) bool { return len(host) <= 253 && dnsName.MatchString(host) }
