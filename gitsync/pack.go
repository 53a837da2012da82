package gitsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// pack is one pack file and its index, open for reading. It is safe for concurrent use.
type pack struct {
	name  string
	bytes int64
	file  io.Closer
	index *idxfile.MemoryIndex
	// readers has one reader for each concurrent read. Readers are created when needed: a store has tens of packs, and most
	// are rarely read. Each has a position, and fills caches even when it only reads.
	readers sync.Pool
}

// errPack is the cause of every received pack that can't be used.
var errPack = errors.New("unusable pack")

// receivePack stores the pack from r in dir under its checksum and indexes it. It checks the limits before it unpacks
// anything into memory. It writes the index before the pack gets its name, so a pack with a name is complete. The name of a
// pack without objects is "".
//
// bases returns the objects that a thin pack builds on. It may be nil.
func receivePack(ctx context.Context, r io.Reader, dir string, limits Limits, bases baseFunc) (name string, err error) {
	incoming, err := os.CreateTemp(dir, "incoming-*")
	if err != nil {
		return "", fmt.Errorf("write cache: %w", err)
	}
	defer func() {
		_ = incoming.Close()
		_ = os.Remove(incoming.Name())
	}()
	if _, err := io.Copy(incoming, r); err != nil {
		return "", fmt.Errorf("store pack: %w", err)
	}
	// go-git's parser ignores contexts: when this one ends, its file is closed.
	stop := context.AfterFunc(ctx, func() { _ = incoming.Close() })
	defer stop()
	index, err := examinePack(ctx, incoming, limits, bases)
	if ctx.Err() != nil {
		return "", fmt.Errorf("index pack: %w", ctx.Err())
	}
	if err != nil || index == nil {
		return "", err
	}
	name = fmt.Sprintf("pack-%x", index.PackfileChecksum)
	if err := writeIndex(filepath.Join(dir, name+".idx"), index); err != nil {
		return "", fmt.Errorf("write cache: %w", err)
	}
	if err := os.Rename(incoming.Name(), filepath.Join(dir, name+".pack")); err != nil {
		return "", fmt.Errorf("write cache: %w", err)
	}
	return name, nil
}

// examinePack measures, completes and indexes a pack. The index of a pack without objects is nil.
func examinePack(ctx context.Context, f *os.File, limits Limits, bases baseFunc) (*idxfile.MemoryIndex, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read cache: %w", err)
	}
	count, references, total, err := measurePack(f, limits)
	if err != nil || count == 0 {
		return nil, err
	}
	leave, err := enter(ctx, total+int64(count)*objectCost > smallPack)
	if err != nil {
		return nil, err
	}
	defer leave()
	if bases != nil {
		if err := completePack(f, count, references, bases); err != nil {
			return nil, err
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read cache: %w", err)
	}
	return indexPack(f)
}

// measurePack unpacks every object without keeping it, and compares the declared sizes with the limits. go-git checks that
// the unpacked size matches the declared one, so a decompression bomb can't hide its size. references are the objects that
// deltas name as their base.
func measurePack(r io.ReadSeeker, limits Limits) (count uint32, references []plumbing.Hash, total int64, err error) {
	s := packfile.NewScanner(r)
	_, count, err = s.Header()
	if err != nil {
		return 0, nil, 0, badPack(err)
	}
	if int64(count) > limits.Objects {
		return 0, nil, 0, &LimitError{What: "objects in a pack", Limit: limits.Objects, Got: int64(count)}
	}
	var deltas int64
	for range count {
		header, size, err := measureObject(s, limits)
		if err != nil {
			return 0, nil, 0, err
		}
		if total += size; total > limits.TotalBytes {
			return 0, nil, 0, &LimitError{What: "unpacked pack", Limit: limits.TotalBytes, Got: total}
		}
		if header.Type.IsDelta() {
			deltas += header.Length
		}
		if deltas > limits.DeltaBytes {
			return 0, nil, 0, &LimitError{What: "deltas in a pack", Limit: limits.DeltaBytes, Got: deltas}
		}
		if header.Type == plumbing.REFDeltaObject {
			references = append(references, header.Reference)
		}
	}
	return count, references, total, nil
}

// objectCost is what go-git holds for each object while it indexes a pack.
const objectCost = 200

func measureObject(s *packfile.Scanner, limits Limits) (*packfile.ObjectHeader, int64, error) {
	header, err := s.NextObjectHeader()
	if err != nil {
		return nil, 0, badPack(err)
	}
	if header.Length < 0 || header.Length > limits.ObjectBytes {
		return nil, 0, &LimitError{What: "object", Limit: limits.ObjectBytes, Got: header.Length}
	}
	var start deltaHead
	if _, _, err := s.NextObject(&start); err != nil {
		return nil, 0, badPack(err)
	}
	if !header.Type.IsDelta() {
		return header, header.Length, nil
	}
	// A delta of some bytes can request gigabytes of copies, so its declared result size counts.
	size := start.resultSize()
	if size < 0 {
		return nil, 0, fmt.Errorf("%w: a delta without sizes", errPack)
	}
	if size > limits.ObjectBytes {
		return nil, 0, &LimitError{What: "object", Limit: limits.ObjectBytes, Got: size}
	}
	return header, header.Length + size, nil
}

// badPack marks an error while reading a pack as the pack's fault.
func badPack(err error) error { return fmt.Errorf("%w: %w", errPack, err) }

func indexPack(r io.ReadSeeker) (*idxfile.MemoryIndex, error) {
	var writer idxfile.Writer
	parser, err := packfile.NewParser(packfile.NewScanner(r), &writer)
	if err != nil {
		return nil, badPack(err)
	}
	if _, err := parser.Parse(); err != nil {
		return nil, badPack(err)
	}
	index, err := writer.Index()
	if err != nil {
		return nil, badPack(err)
	}
	return index, nil
}

func writeIndex(path string, index *idxfile.MemoryIndex) error {
	var encoded bytes.Buffer
	if _, err := idxfile.NewEncoder(&encoded).Encode(index); err != nil {
		return err
	}
	return os.WriteFile(path, encoded.Bytes(), 0o600)
}

func openPack(dir, name string, objects cache.Object) (*pack, error) {
	encoded, err := os.Open(filepath.Join(dir, name+".idx"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = encoded.Close() }()
	index := idxfile.NewMemoryIndex()
	if err := idxfile.NewDecoder(encoded).Decode(index); err != nil {
		return nil, err
	}
	file, err := osfs.New(dir, osfs.WithBoundOS()).Open(name + ".pack")
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(filepath.Join(dir, name+".pack"))
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	p := &pack{name: name, bytes: info.Size(), file: file, index: index}
	p.readers.New = func() any {
		// Without a filesystem go-git reads through the open file and never by name: the file may have been removed by then.
		return packfile.NewPackfileWithCache(index, nil, view{file, io.NewSectionReader(file, 0, info.Size())}, objects, 0)
	}
	return p, nil
}

// reader returns a reader for exclusive use until it is put back.
func (p *pack) reader() *packfile.Packfile {
	return p.readers.Get().(*packfile.Packfile) //nolint:forcetypeassert // the pool contains nothing else
}

// view is an open file with its own position.
type view struct {
	billy.File
	section *io.SectionReader
}

func (v view) Read(p []byte) (int, error)                       { return v.section.Read(p) }
func (v view) Seek(offset int64, whence int) (int64, error)     { return v.section.Seek(offset, whence) }
func (v view) ReadAt(p []byte, offset int64) (n int, err error) { return v.section.ReadAt(p, offset) }

// size is the unpacked size of the object at hash, found without unpacking it.
func (p *pack) size(hash plumbing.Hash) (int64, error) {
	offset, err := p.index.FindOffset(hash)
	if err != nil {
		return 0, err
	}
	reader := p.reader()
	defer p.readers.Put(reader)
	return reader.GetSizeByOffset(offset)
}

// read unpacks the object at hash.
func (p *pack) read(hash plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	reader := p.reader()
	defer p.readers.Put(reader)
	obj, err := reader.Get(hash)
	if err != nil {
		return 0, nil, err
	}
	r, err := obj.Reader()
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = r.Close() }()
	// A copy: the object stays in the cache, and callers may write into the result.
	content := make([]byte, obj.Size())
	_, err = io.ReadFull(r, content)
	return obj.Type(), content, err
}

// deltaHead keeps the first bytes of a delta: the sizes of its base and of its result.
type deltaHead struct{ b []byte }

func (d *deltaHead) Write(p []byte) (int, error) {
	if room := 20 - len(d.b); room > 0 {
		d.b = append(d.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

// resultSize is -1 if the delta is cut off or its size isn't a valid object size.
func (d *deltaHead) resultSize() int64 {
	rest := d.b
	var size int64
	for range 2 {
		size = 0
		for shift := 0; ; shift += 7 {
			if len(rest) == 0 || shift > 56 {
				return -1
			}
			b := rest[0]
			rest = rest[1:]
			size |= int64(b&0x7f) << shift
			if b&0x80 == 0 {
				break
			}
		}
	}
	return size
}
