package gitsync

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// Limits bound what a repository may cost, whoever writes to it. A zero field means its
// default; going over any of them is a *LimitError.
//
// What they can't bound: while a pack is indexed, go-git holds up to 96 MiB of delta bases,
// a few times ObjectBytes, and some 200 bytes for each object.
type Limits struct {
	// PackBytes bounds what one fetch may download. Default 512 MiB.
	PackBytes int64
	// ObjectBytes bounds one object unpacked, be it a file or a folder listing. Default 64 MiB.
	// Objects over it can't be left out of a fetch: Git sends a commit whole or not at all.
	ObjectBytes int64
	// TotalBytes bounds all objects of one fetch, unpacked. Default 2 GiB.
	TotalBytes int64
	// DeltaBytes bounds all deltas of one fetch, unpacked. To read an object, go-git holds every delta of its chain. Default 128 MiB.
	DeltaBytes int64
	// Objects bounds the number of objects of one fetch. Default 1,000,000.
	Objects int64
	// Files bounds the files and folders of a commit, counted as a checkout would have them: a small
	// repository can hold folders that repeat each other into billions. Default 500,000.
	Files int64
	// FileBytes bounds a file that is read from a Snapshot. Default 16 MiB.
	FileBytes int64
	// CacheBytes is the size of the cache of unpacked objects, per Repository. Default 4 MiB.
	CacheBytes int64
}

// maxTreeDepth bounds nested folders. Linux refuses paths over 4,096 bytes, so a deeper tree can't be checked out anyway.
const maxTreeDepth = 2048

// maxCommit bounds a commit object. It has no files in it: a kilobyte or two, with a signature.
const maxCommit = 1 << 20

// What a server may say before the pack. go-git's decoders keep all of it, and know no limit of their own.
const (
	// maxAdvertisement bounds the listing of refs: at some 60 bytes a ref, a quarter of a million of them.
	maxAdvertisement = 16 << 20
	// maxNegotiation bounds the answer before the pack. It has a line or two for each commit that the request names, and these are few.
	maxNegotiation = 64 << 10
	// maxHeader bounds the header of an HTTP answer.
	maxHeader = 64 << 10
)

// What is received is held on disk or, for a listing, in a few MiB of memory, and only then taken apart, which takes several times as much.
// Many servers may answer at once, so whatever is large is taken apart one at a time in the whole process. No server can hold up another
// that way: when the place is taken, everything that it is for has arrived.
const (
	// smallAdvertisement and smallPack need no place: some 16,000 refs, and what an ordinary push brings.
	smallAdvertisement = 1 << 20
	smallPack          = 8 << 20
)

var place = semaphore.NewWeighted(1)

// enter waits for the place, if it is needed.
func enter(ctx context.Context, large bool) (leave func(), err error) {
	if !large {
		return func() {}, nil
	}
	if err := place.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	return func() { place.Release(1) }, nil
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		field *int64
		value int64
	}{
		{&l.PackBytes, 512 << 20},
		{&l.ObjectBytes, 64 << 20},
		{&l.TotalBytes, 2 << 30},
		{&l.DeltaBytes, 128 << 20},
		{&l.Objects, 1_000_000},
		{&l.Files, 500_000},
		{&l.FileBytes, 16 << 20},
		{&l.CacheBytes, 4 << 20},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	return l
}
