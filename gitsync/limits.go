package gitsync

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// Limits bound what a repository may cost, no matter who can write to it. A zero field means its default. Exceeding any of them is
// a *LimitError.
//
// They can't bound go-git's memory while it indexes a pack: up to 96 MiB of delta bases, a few times ObjectBytes, and some
// 200 bytes for each object.
type Limits struct {
	// PackBytes bounds what one fetch may download. Default 512 MiB.
	PackBytes int64
	// ObjectBytes bounds one unpacked object: a file or a folder listing. Default 64 MiB. Objects over it can't be left out
	// of a fetch: Git sends a commit completely or not at all.
	ObjectBytes int64
	// TotalBytes bounds all objects of one fetch, unpacked. Default 2 GiB.
	TotalBytes int64
	// DeltaBytes bounds all deltas of one fetch, unpacked. To read an object, go-git holds every delta of its chain. Default
	// 128 MiB.
	DeltaBytes int64
	// Objects bounds the number of objects of one fetch. Default 1,000,000.
	Objects int64
	// Files bounds the files and folders of a commit, counted as in a checkout: a small repository can contain folders that
	// repeat each other billions of times. Default 500,000.
	Files int64
	// FileBytes bounds a file that is read from a Snapshot. Default 16 MiB.
	FileBytes int64
	// CacheBytes is the size of the cache of unpacked objects, per Repository. Default 4 MiB.
	CacheBytes int64
}

// maxTreeDepth bounds nested folders, and maxPath the path of a file. Linux rejects longer paths, and folders need two bytes each,
// so such a tree can't be checked out anyway. To walk it takes time that grows with the square of its depth and with its names.
const (
	maxTreeDepth = 2048
	maxPath      = 4095
)

// maxCommit bounds a commit object. It contains no files: a kilobyte or two, with a signature.
const maxCommit = 1 << 20

// maxCommitHeader bounds what comes before the message. go-git appends each line of a signature to those before, so a megabyte of short
// lines would take minutes.
const maxCommitHeader = 64 << 10

// Limits on what a server may send before the pack. go-git's decoders keep all of it, and have no limit.
const (
	// maxAdvertisement bounds the listing of refs: a quarter of a million at some 60 bytes each.
	maxAdvertisement = 16 << 20
	// maxNegotiation bounds the answer before the pack. It has a line or two for each commit in the request, and there are
	// few.
	maxNegotiation = 64 << 10
	// maxHeader bounds the header of an HTTP answer.
	maxHeader = 64 << 10
)

// Received data is stored on disk or, for a listing, in a few MiB of memory. Only then is it decoded, which takes several
// times as much memory. Many servers may answer at once, so large data is decoded one at a time in the whole process. No
// server can block another that way: decoding starts only when all data has arrived.
const (
	// smallAdvertisement and smallPack don't need the turn: some 16,000 refs, and the pack of an ordinary push.
	smallAdvertisement = 1 << 20
	smallPack          = 8 << 20
)

var decoding = semaphore.NewWeighted(1)

// enter waits for the turn to decode large data. Small data needs no turn.
func enter(ctx context.Context, large bool) (leave func(), err error) {
	if !large {
		return func() {}, nil
	}
	if err := decoding.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	return func() { decoding.Release(1) }, nil
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
