package gitsync

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/cache"
)

// rawObject is an object of a pack: type and size, what goes before the content, the content.
func rawObject(kind byte, size int64, before, content []byte) []byte {
	var b bytes.Buffer
	first := kind<<4 | byte(size&0x0f)
	for size >>= 4; size > 0; size >>= 7 {
		b.WriteByte(first | 0x80)
		first = byte(size & 0x7f)
	}
	b.WriteByte(first)
	b.Write(before)
	z := zlib.NewWriter(&b)
	_, _ = z.Write(content)
	_ = z.Close()
	return b.Bytes()
}

func rawPack(count uint32, objects ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), count)
	b = append(b, bytes.Join(objects, nil)...)
	sum := sha1.Sum(b)
	return append(b, sum[:]...)
}

func TestBadPacks(t *testing.T) {
	t.Parallel()
	const blob, refDelta = 3, 7
	// A delta of a few bytes that declares, and would copy together, 256 MiB.
	base := bytes.Repeat([]byte{'x'}, 1<<16)
	bomb := []byte{0x80, 0x80, 0x04, 0x80, 0x80, 0x80, 0x80, 0x01}
	for range 4096 {
		bomb = append(bomb, 0xb0, 0xff, 0xff)
	}
	good := rawPack(1, rawObject(blob, 5, nil, []byte("hello")))
	limits := Limits{ObjectBytes: 1 << 20}.withDefaults()

	for name, tc := range map[string]struct {
		pack  []byte
		limit string // What of the LimitError, or nothing for errPack
	}{
		"nothing":                            {nil, ""},
		"no pack":                            {[]byte("<html>"), ""},
		"a wrong checksum":                   {append(bytes.Clone(good[:len(good)-1]), 0), ""},
		"a cut pack":                         {good[:len(good)-22], ""},
		"fewer objects than announced":       {rawPack(2, rawObject(blob, 5, nil, []byte("hello"))), ""},
		"CVE-2026-34165: millions announced": {rawPack(1<<31, rawObject(blob, 5, nil, []byte("hello"))), "objects in a pack"},
		"more content than announced":        {rawPack(1, rawObject(blob, 5, nil, []byte("hello, world"))), ""},
		"a delta of nothing in sight":        {rawPack(1, rawObject(refDelta, 3, make([]byte, 20), []byte{1, 1, 0})), ""},
		"a delta without sizes":              {rawPack(1, rawObject(refDelta, 1, make([]byte, 20), []byte{0x80})), ""},
		"a delta bomb":                       {rawPack(2, rawObject(blob, int64(len(base)), nil, base), rawObject(refDelta, int64(len(bomb)), make([]byte, 20), bomb)), "object"},
		"a large object":                     {rawPack(1, rawObject(blob, 1<<30, nil, []byte("that is a lie"))), "object"},
	} {
		dir := t.TempDir()
		got, err := receivePack(t.Context(), bytes.NewReader(tc.pack), dir, limits, nil)
		var limit *LimitError
		if tc.limit == "" && !errors.Is(err, errPack) || tc.limit != "" && (!errors.As(err, &limit) || limit.What != tc.limit) {
			t.Errorf("%s: %q %v", name, got, err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
	if name, err := receivePack(t.Context(), bytes.NewReader(good), t.TempDir(), limits, nil); err != nil || !strings.HasPrefix(name, "pack-") {
		t.Errorf("good: %q %v", name, err)
	}
	if name, err := receivePack(t.Context(), bytes.NewReader(rawPack(0)), t.TempDir(), limits, nil); err != nil || name != "" {
		t.Errorf("without objects: %q %v", name, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := receivePack(ended, bytes.NewReader(good), t.TempDir(), limits, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context has ended: %v", err)
	}
	if _, err := receivePack(t.Context(), bytes.NewReader(good), "/nonexistent", limits, nil); err == nil || errors.Is(err, errPack) {
		t.Errorf("without a folder: %v", err)
	}
}

// TestOpenPacksAreSmall: a pack that nobody reads takes the same memory on a machine with many processors.
func TestOpenPacksAreSmall(t *testing.T) {
	dir := t.TempDir()
	name, err := receivePack(t.Context(), bytes.NewReader(rawPack(1, rawObject(3, 5, nil, []byte("hello")))), dir, Limits{}.withDefaults(), nil)
	if err != nil {
		t.Fatal(err)
	}
	taken := func(processors int) uint64 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p, err := openPack(dir, name, cache.NewObjectLRUDefault())
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if err := p.file.Close(); err != nil {
			t.Fatal(err)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	// The least of several: what else the process does meanwhile can only add to it.
	least := func(processors int) uint64 {
		smallest := taken(processors)
		for range 50 {
			smallest = min(smallest, taken(processors))
		}
		return smallest
	}
	if one, many := least(1), least(64); many > 2*one {
		t.Errorf("%d bytes with one processor, %d with 64", one, many)
	}
}
