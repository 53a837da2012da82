package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestExpiringPGPKeys: a command that encrypts tells which of the repository's PGP keys expire soon.
func TestExpiringPGPKeys(t *testing.T) {
	made := time.Now().Add(-60 * 24 * time.Hour)
	key := func(days int) *sealtest.PGPKey {
		return sealtest.NewPGPKey(t, func(c *packet.Config) {
			c.Time, c.KeyLifetimeSecs = func() time.Time { return made }, uint32(days*24*60*60)
		})
	}
	soon := key(70)
	keysInGit := soon.Public() + "\n" + key(900).Public() + "\n" + key(0).Public()
	var told bytes.Buffer
	f := &folder{shell: &shell{stderr: &told}, target: &target{repository: &repository{fs: fstest.MapFS{publicKeys: {Data: []byte(keysInGit)}}}}, ring: &keys.Ring{}}
	check(t, (&writeFlags{}).addRecipients(f))
	want := "muster: the PGP key " + soon.Fingerprint() + " expires on " + made.AddDate(0, 0, 70).UTC().Format(time.DateOnly)
	if text := told.String(); !strings.HasPrefix(text, want) || strings.Count(text, "\n") != 1 {
		t.Errorf("%q, want one line that begins with %q", text, want)
	}
}
