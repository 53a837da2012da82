package keys_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	agearmor "filippo.io/age/armor"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/getsops/sops/v3/keyservice"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// writes returns the output of a packet writer.
func writes(t testing.TB, write func(io.Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func literalOf(t testing.TB, data []byte) []byte {
	return writes(t, func(w io.Writer) error {
		plain, err := packet.SerializeLiteral(nopCloser{w}, true, "", 0)
		if err != nil {
			return err
		}
		_, err = plain.Write(data)
		return errors.Join(err, plain.Close())
	})
}

// compressedOf returns a compressed packet with the output of write.
func compressedOf(t testing.TB, write func(io.Writer) error) []byte {
	return writes(t, func(w io.Writer) error {
		c, err := packet.SerializeCompressed(nopCloser{w}, packet.CompressionZLIB, &packet.CompressionConfig{Level: packet.DefaultCompression})
		if err != nil {
			return err
		}
		return errors.Join(write(c), c.Close())
	})
}

func all(parts ...[]byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(bytes.Join(parts, nil))
		return err
	}
}

// junk returns a private packet of size zeros, which readers skip.
func junk(size uint32) func(io.Writer) error {
	return func(w io.Writer) error {
		if _, err := w.Write([]byte{0xc0 | 60, 0xff, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}); err != nil {
			return err
		}
		_, err := io.CopyN(w, zeros{}, int64(size))
		return err
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// pgpMessage encrypts packets for a key, as the only content.
func pgpMessage(t testing.TB, key *sealtest.PGPKey, envelopes int, packets []byte) []byte {
	t.Helper()
	session := bytes.Repeat([]byte{7}, 32)
	return writes(t, func(w io.Writer) error {
		armored, err := armor.Encode(w, "PGP MESSAGE", nil)
		if err != nil {
			return err
		}
		for range envelopes {
			if err := packet.SerializeEncryptedKey(armored, key.Entity.Subkeys[0].PublicKey, packet.CipherAES256, session, nil); err != nil {
				return err
			}
		}
		inner, err := packet.SerializeSymmetricallyEncrypted(armored, packet.CipherAES256, false, packet.CipherSuite{}, session, nil)
		if err != nil {
			return err
		}
		_, err = inner.Write(packets)
		return errors.Join(err, inner.Close(), armored.Close())
	})
}

func decryptPGP(t testing.TB, ring *keys.Ring, message []byte) ([]byte, error) {
	answer, err := ring.Decrypt(t.Context(), &keyservice.DecryptRequest{Ciphertext: message,
		Key: &keyservice.Key{KeyType: &keyservice.Key_PgpKey{PgpKey: &keyservice.PgpKey{}}}})
	return answer.GetPlaintext(), err
}

// pgpRow is a message of packets, encrypted for some keys.
type pgpRow struct {
	reason    string
	envelopes int
	packets   []byte
	opens     bool
}

// pgpRows are honest messages, and hostile ones of a few kilobytes that unpack to any size. Each hostile message ends in a good
// data key. A reader without limits would open it eventually, when its author wants.
func pgpRows(t testing.TB, key *sealtest.PGPKey) []pgpRow {
	good := literalOf(t, make([]byte, 32))
	bomb := compressedOf(t, junk(128<<20))
	twice := compressedOf(t, all(bomb, good))
	// 200 compressed packets of 200 compressed packets, 4 levels deep: more than a billion.
	tower := compressedOf(t, junk(1000))
	for range 4 {
		tower = compressedOf(t, all(bytes.Repeat(tower, 200)))
	}
	return []pgpRow{
		{"as openpgp has it", 1, good, true},
		{"as gpg has it", 1, compressedOf(t, all(good)), true},
		{"for some keys of one person", 16, good, true},
		{"128 MiB before the key", 1, compressedOf(t, all(bomb, good)), false},
		{"the same, compressed twice", 1, twice, false},
		{"compressed twice, and small", 1, compressedOf(t, all(compressedOf(t, all(good)))), false},
		{"more than a message may unpack to", 1, compressedOf(t, all(writes(t, junk(40<<10)), good)), false},
		{"a tower", 1, append(bytes.Clone(tower), good...), false},
		{"a long data key", 1, literalOf(t, make([]byte, 2000)), false},
		{"many envelopes", 17, good, false},
		{"no envelope", 0, good, false},
		{"no end", 1, good[:len(good)-1], false},
		{"an encrypted message in it", 1, pgpMessage(t, key, 1, good), false},
	}
}

// A message that unpacks to too much is refused before it is unpacked.
func TestPGPBombs(t *testing.T) {
	key := sealtest.NewPGPKey(t)
	ring := ringOf(t, map[string]string{"k.asc": key.Private()})
	for _, row := range pgpRows(t, key) {
		message := pgpMessage(t, key, row.envelopes, row.packets)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		started := time.Now()
		got, err := decryptPGP(t, ring, message)
		runtime.ReadMemStats(&after)
		taken := after.TotalAlloc - before.TotalAlloc
		t.Logf("%-40s %6d bytes: %v, %d KiB allocated, %v", row.reason, len(message), time.Since(started).Round(time.Microsecond), taken>>10, err)
		if row.opens != (err == nil) || row.opens != (len(got) == 32) || err != nil && !errors.Is(err, keys.ErrNoKeyFits) {
			t.Errorf("%s: %v %v", row.reason, got, err)
		}
		if taken > 2<<20 {
			t.Errorf("%s: %d bytes allocated", row.reason, taken)
		}
	}
}

// BenchmarkPGPBombs prints how much memory the hostile messages take, and fails if it is more than an honest one takes.
func BenchmarkPGPBombs(b *testing.B) {
	key := sealtest.NewPGPKey(b)
	ring := &keys.Ring{}
	if err := ring.Add("benchmark", key.Private()); err != nil {
		b.Fatal(err)
	}
	for _, row := range pgpRows(b, key) {
		message := pgpMessage(b, key, row.envelopes, row.packets)
		b.Run(strings.ReplaceAll(row.reason, " ", "-"), func(b *testing.B) {
			var peak uint64
			for b.Loop() {
				peak = max(peak, sealtest.PeakHeap(func() {
					if _, err := decryptPGP(b, ring, message); row.opens != (err == nil) {
						b.Error(err)
					}
				}))
			}
			b.ReportMetric(float64(peak)/(1<<10), "KiB/peak")
			if peak > 2<<20 {
				b.Errorf("%d KiB of heap", peak>>10)
			}
		})
	}
}

// FuzzPGPPackets: whatever is encrypted for a recipient's public key, the result is a data key or nothing.
func FuzzPGPPackets(f *testing.F) {
	key := sealtest.NewPGPKey(f)
	ring := &keys.Ring{}
	if err := ring.Add("test", key.Private()); err != nil {
		f.Fatal(err)
	}
	good := literalOf(f, make([]byte, 32))
	f.Add(good)
	f.Add(compressedOf(f, all(good)))
	f.Add(compressedOf(f, all(writes(f, junk(3000)), good)))
	f.Fuzz(func(t *testing.T, packets []byte) {
		got, err := decryptPGP(t, ring, pgpMessage(t, key, 1, packets))
		if err != nil && !errors.Is(err, keys.ErrNoKeyFits) || len(got) > 1<<10 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// TestManyStanzas: an age message has a stanza for each recipient, and each costs an operation per identity.
func TestManyStanzas(t *testing.T) {
	mine := sealtest.NewKey(t)
	ring := ringOf(t, map[string]string{"k.agekey": mine.Private()})
	ours, err := age.ParseX25519Recipient(mine.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		others int
		padded bool
		opens  bool
	}{{0, false, true}, {7, false, true}, {8, false, false}, {100, false, false}, {5_000, false, false}, {0, true, false}} {
		recipients := []age.Recipient{}
		for range min(row.others, 100) {
			other, err := age.GenerateX25519Identity()
			if err != nil {
				t.Fatal(err)
			}
			recipients = append(recipients, other.Recipient())
		}
		for len(recipients) < row.others {
			recipients = append(recipients, recipients[0:min(100, row.others-len(recipients))]...)
		}
		message := writes(t, func(w io.Writer) error {
			armored := agearmor.NewWriter(w)
			plain, err := age.Encrypt(armored, append(recipients, ours)...)
			if err != nil {
				return err
			}
			_, err = plain.Write(make([]byte, 32))
			return errors.Join(err, plain.Close(), armored.Close())
		})
		if row.padded {
			message = append([]byte(strings.Repeat("\n", 5<<20)), message...)
		}
		started := time.Now()
		answer, err := ring.Decrypt(t.Context(), &keyservice.DecryptRequest{Ciphertext: message,
			Key: &keyservice.Key{KeyType: &keyservice.Key_AgeKey{AgeKey: &keyservice.AgeKey{}}}})
		took := time.Since(started)
		t.Logf("%d other stanzas, %d bytes: %v, %v", row.others, len(message), took.Round(time.Microsecond), err)
		if row.opens != (err == nil) || row.opens != (len(answer.GetPlaintext()) == 32) || err != nil && !errors.Is(err, keys.ErrNoKeyFits) {
			t.Errorf("%d other stanzas: %v", row.others, err)
		}
	}
}
