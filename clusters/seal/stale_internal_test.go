package seal

import (
	"testing"

	"github.com/getsops/sops/v3"
	"go.yaml.in/yaml/v3"
)

// TestMACText: the text of a value for the MAC is that of the sops library.
func TestMACText(t *testing.T) {
	for _, written := range []string{"text", "''", "12", "-0x1F", "18446744073709551615", "1.50", "1e30", ".inf", ".nan", "true", "no", "null", "2026-01-01", "2026-01-01T00:00:00.5+02:00", "!!binary YQ==", "[a]", "{a: b}"} {
		var v any
		if err := yaml.Unmarshal([]byte(written), &v); err != nil {
			t.Fatal(err)
		}
		want, err := sops.ToBytes(v)
		if got, ok := macText(v); ok != (err == nil) || got != string(want) {
			t.Errorf("%s: %q, %t; sops: %q, %v", written, got, ok, want, err)
		}
	}
}
