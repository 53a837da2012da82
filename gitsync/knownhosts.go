package gitsync

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // hashed host names in known_hosts are HMAC-SHA1 by definition
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// hostKeys holds the lines of a known_hosts file. The knownhosts package of x/crypto reads only files, and a Secret should
// not be written to disk for it.
type hostKeys struct{ lines []hostKeyLine }

type hostKeyLine struct {
	patterns []string
	key      ssh.PublicKey
	revoked  bool
}

func parseKnownHosts(data []byte) (*hostKeys, error) {
	keys := &hostKeys{}
	for rest := data; ; {
		marker, patterns, key, _, next, err := ssh.ParseKnownHosts(rest)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, &SecretError{Key: keyKnownHosts, Problem: fmt.Sprintf("is malformed near line %d", lineOf(data, rest)),
				Remedy: "use the lines that ssh-keyscan prints: host, key type, key"}
		}
		if marker != "" && marker != "revoked" {
			return nil, &SecretError{Key: keyKnownHosts, Problem: "has an @" + tidy(marker) + " line, which is not supported",
				Remedy: "list the server's own host keys"}
		}
		keys.lines = append(keys.lines, hostKeyLine{patterns: patterns, key: key, revoked: marker == "revoked"})
		rest = next
	}
	if len(keys.lines) == 0 {
		return nil, &SecretError{Key: keyKnownHosts, Problem: "contains no host key", Remedy: "use the lines that ssh-keyscan prints: host, key type, key"}
	}
	return keys, nil
}

// lineOf is the number of the first line in rest that has content; ssh.ParseKnownHosts skips the others.
func lineOf(data, rest []byte) int {
	number := 1 + bytes.Count(data[:len(data)-len(rest)], []byte("\n"))
	for l := range bytes.Lines(rest) {
		if trimmed := bytes.TrimSpace(l); len(trimmed) > 0 && trimmed[0] != '#' && bytes.ContainsAny(trimmed, " \t") {
			break
		}
		number++
	}
	return number
}

// algorithms lists the host key algorithms to offer to the server at addr, so that a server with several keys presents one
// that is in known_hosts. It is empty for an unknown server.
func (k *hostKeys) algorithms(addr string) []string {
	var algos []string
	for _, l := range k.lines {
		if l.revoked || !l.matches(addr) {
			continue
		}
		offered := []string{l.key.Type()}
		if l.key.Type() == ssh.KeyAlgoRSA {
			// The name of the RSA key type is also that of its SHA-1 signature, which is not offered any more.
			offered = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, algo := range offered {
			if !slices.Contains(algos, algo) {
				algos = append(algos, algo)
			}
		}
	}
	return algos
}

// errHostKey is the cause of every rejected host key.
var errHostKey = errors.New("host key not trusted")

// check is an ssh.HostKeyCallback.
func (k *hostKeys) check(addr string, _ net.Addr, key ssh.PublicKey) error {
	trusted := false
	for _, l := range k.lines {
		if !l.matches(addr) || !bytes.Equal(l.key.Marshal(), key.Marshal()) {
			continue
		}
		if l.revoked {
			return fmt.Errorf("%w: known_hosts marks the %s key %s as revoked", errHostKey, key.Type(), ssh.FingerprintSHA256(key))
		}
		trusted = true
	}
	if !trusted {
		return fmt.Errorf("%w: the server presented the %s key %s, but known_hosts has another one for %s", errHostKey, key.Type(), ssh.FingerprintSHA256(key), knownhosts.Normalize(addr))
	}
	return nil
}

// matches follows sshd(8): any pattern may match, and a matching negated pattern decides.
func (l hostKeyLine) matches(addr string) bool {
	host := strings.ToLower(knownhosts.Normalize(addr))
	found := false
	for _, pattern := range l.patterns {
		pattern, negated := strings.CutPrefix(pattern, "!")
		if !matchHost(pattern, host) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

func matchHost(pattern, host string) bool {
	if hashed, ok := strings.CutPrefix(pattern, "|1|"); ok {
		salt64, sum64, _ := strings.Cut(hashed, "|")
		salt, err1 := base64.StdEncoding.DecodeString(salt64)
		sum, err2 := base64.StdEncoding.DecodeString(sum64)
		mac := hmac.New(sha1.New, salt)
		mac.Write([]byte(host))
		return err1 == nil && err2 == nil && hmac.Equal(mac.Sum(nil), sum)
	}
	// Brackets enclose a host with a port here, but a character class in path.Match.
	escaped := strings.NewReplacer(`[`, `\[`, `]`, `\]`, `\`, `\\`).Replace(strings.ToLower(pattern))
	ok, err := path.Match(escaped, host)
	return err == nil && ok
}

// keyscan is the command that prints known_hosts lines for a host, with an optional port.
func keyscan(host string) string {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return "ssh-keyscan " + host
	}
	return "ssh-keyscan -p " + port + " " + name
}
