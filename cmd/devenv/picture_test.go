package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// The committed picture has the three statuses as text, and nothing of the machine that drew it. `make picture` draws it anew.
func TestPicture(t *testing.T) {
	picture := read(t, "cmd/devenv/picture.svg")
	if n := len(picture); n > 30_000 {
		t.Errorf("it has %d bytes", n)
	}
	for decoder := xml.NewDecoder(strings.NewReader(picture)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"<title", "<desc", "prefers-color-scheme: dark", "muster/fleet ", "muster/fleet/drift", "muster/fleet/scan", "AuditSync"} {
		if !strings.Contains(picture, want) {
			t.Errorf("it lacks %s", want)
		}
	}
	for _, never := range []string{"/tmp", "/home", "/root", "127.0.0.1", "localhost", "http://1"} {
		if strings.Contains(picture, never) {
			t.Errorf("it has %s, which is of the machine that drew it", never)
		}
	}
}

func TestDrawn(t *testing.T) {
	long := "05:23:55  Gitea          69e339b  muster/fleet/scan: failure: " + strings.Repeat("word ", 20)
	got := drawn([]screen{{"a", []string{"not ready <b>", long}}})
	for _, want := range []string{`<tspan class="bad">not ready</tspan> &lt;b&gt;`, `<tspan class="dim">05:23:55</tspan>  Gitea`, `<tspan class="bad">failure</tspan>`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
	if lines := wrapped(long); len(lines) != 2 || !strings.HasPrefix(lines[1], strings.Repeat(" ", 10)) {
		t.Errorf("wrapped as %q", lines)
	}
}
