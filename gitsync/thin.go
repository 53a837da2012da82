package gitsync

import (
	"compress/zlib"
	"crypto/sha1" //nolint:gosec // packs end in their SHA-1
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/go-git/go-git/v5/plumbing"
)

// baseFunc reads an object of the store that a pack belongs to. found is false if the store doesn't have it.
type baseFunc func(plumbing.Hash) (kind plumbing.ObjectType, content []byte, found bool, err error)

const (
	packCountAt   = 8 // after "PACK" and the version
	packTrailer   = sha1.Size
	packTypeShift = 4
)

// completePack completes a thin pack, as git index-pack --fix-thin does: it replaces the trailer by those bases of the
// pack's deltas that the store has, and adds a new trailer. Each pack of a store can then be read on its own, as go-git
// expects. A base that is missing everywhere makes indexing fail.
func completePack(f *os.File, count uint32, references []plumbing.Hash, bases baseFunc) error {
	added := map[plumbing.Hash]bool{}
	for _, hash := range references {
		if added[hash] {
			continue
		}
		kind, content, found, err := bases(hash)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if len(added) == 0 {
			err = cutTrailer(f)
		}
		if err == nil {
			err = encodeObject(f, kind, content)
		}
		if err != nil {
			return fmt.Errorf("write cache: %w", err)
		}
		added[hash] = true
	}
	if len(added) == 0 {
		return nil
	}
	total := count + uint32(len(added)) //nolint:gosec // the bases of a pack are no more than its objects, which 32 bits count
	if err := seal(f, total); err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	return nil
}

func cutTrailer(f *os.File) error {
	end, err := f.Seek(-packTrailer, io.SeekEnd)
	if err != nil {
		return err
	}
	return f.Truncate(end)
}

// encodeObject writes an object as packs hold it: type and size in groups of seven bits, the
// first of four, then the content, deflated.
func encodeObject(w io.Writer, kind plumbing.ObjectType, content []byte) error {
	size := len(content)
	var header []byte
	b := byte(kind)<<packTypeShift | byte(size&0x0f) //nolint:gosec // a kind has three bits
	for size >>= packTypeShift; size > 0; size >>= 7 {
		header = append(header, b|0x80)
		b = byte(size & 0x7f)
	}
	if _, err := w.Write(append(header, b)); err != nil {
		return err
	}
	z := zlib.NewWriter(w)
	if _, err := z.Write(content); err != nil {
		return err
	}
	return z.Close()
}

// seal corrects the count in the header and appends the checksum.
func seal(f *os.File, count uint32) error {
	if _, err := f.WriteAt(binary.BigEndian.AppendUint32(nil, count), packCountAt); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sum := sha1.New() //nolint:gosec // packs end in their SHA-1
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	_, err := f.Write(sum.Sum(nil))
	return err
}
