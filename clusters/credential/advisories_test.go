package credential_test

import (
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/credential"
)

// TestAdvisories: PEM of a Secret's size, made to be slow to read (CVE-2024-12401), is read in a second or two. With
// Go before 1.25 it took minutes.
func TestAdvisories(t *testing.T) {
	fill := func(part string) string { return strings.Repeat(part, credential.MaxSecretSize/len(part)) }
	for name, text := range map[string]string{
		"begins":              fill("-----BEGIN "),
		"begins of lines":     fill("-----BEGIN CERTIFICATE-----\n"),
		"begins with headers": fill("-----BEGIN CERTIFICATE-----\na: b\n"),
		"ends":                fill("-----END CERTIFICATE-----\n"),
		"begin, ends":         "-----BEGIN CERTIFICATE-----\n" + fill("-----END X-----\n")[100:],
		"empty blocks":        fill("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
		"dashes":              fill("-"),
		"line ends":           "-----BEGIN CERTIFICATE-----" + fill("\n")[100:],
		"colons":              "-----BEGIN CERTIFICATE-----\n" + fill(":\n")[100:],
	} {
		started := time.Now()
		if _, problems := credential.CACert([]byte(text), now); len(problems) == 0 {
			t.Errorf("%s: no problem", name)
		}
		if took := time.Since(started); took > time.Minute {
			t.Errorf("%s: took %v", name, took)
		} else {
			t.Logf("%s: %v", name, took.Round(time.Microsecond))
		}
	}
}
