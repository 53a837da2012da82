package webhook

import (
	"fmt"
	"time"

	"golang.org/x/time/rate"
)

// Limits bound what the receiver spends. Zero values are the defaults.
type Limits struct {
	// MaxBody is the largest body that is read, in bytes. GitHub delivers up to 25 MB, of which Muster needs none but the
	// names of ref and repository: a push of a few thousand commits has several MiB. What is dropped is found at the next
	// interval. Default: 8 MiB.
	MaxBody int64
	// MaxBuffered is how much of bodies is in memory at once, in bytes, beyond the first 64 KiB of each, which nearly all
	// deliveries fit into. One source can have half of it. Default: 64 MiB, and at least twice MaxBody.
	MaxBuffered int64
	// MaxConcurrent is how many deliveries are read at once; one source can have a quarter of that. Others wait for a moment.
	// Default: 128.
	MaxConcurrent int
	// MaxConnections is how many connections are open at once; one source can have a quarter. Further ones are closed at
	// once. Default: 1024.
	MaxConnections int
	// HeaderTimeout, RequestTimeout and IdleTimeout bound how long a client may take for its headers, for all of a request,
	// and until the next one. Defaults: 5s, 15s, 60s.
	HeaderTimeout, RequestTimeout, IdleTimeout time.Duration
	// FailureRate and FailureBurst are how many deliveries a source may send a second that are not verified, before it is
	// told to wait. Defaults: 10, 50.
	FailureRate  rate.Limit
	FailureBurst int
	// TargetRate and TargetBurst are how many verified deliveries a target takes a second. Defaults: 1000, 2000.
	TargetRate  rate.Limit
	TargetBurst int
	// Replays is how many deliveries are remembered, and ReplayAge for how long. Later, a delivery that somebody sends again
	// by hand counts as new, which it is meant to. Defaults: 8192, 10m.
	Replays   int
	ReplayAge time.Duration
}

const (
	freeBody    = 64 << 10
	waitForSlot = 5 * time.Second
	maxSources  = 4096
	maxTargets  = 1024
	share       = 4
)

// Validate says what can't work.
func (l Limits) Validate() error {
	switch {
	case l.MaxBody < 0 || l.MaxBody > 0 && l.MaxBody < 1<<10:
		return fmt.Errorf("the largest body is %d bytes; it must be at least 1 KiB", l.MaxBody)
	case l.MaxBody > 256<<20:
		return fmt.Errorf("the largest body is %d bytes; no forge sends more than 25 MB, and 256 MiB is the most that can be set", l.MaxBody)
	case l.MaxBuffered < 0 || l.MaxConcurrent < 0 || l.MaxConnections < 0 || l.FailureRate < 0 || l.FailureBurst < 0 || l.TargetRate < 0 ||
		l.TargetBurst < 0 || l.Replays < 0 || l.ReplayAge < 0 || l.HeaderTimeout < 0 || l.RequestTimeout < 0 || l.IdleTimeout < 0:
		return fmt.Errorf("a limit is negative")
	}
	return nil
}

func (l Limits) withDefaults() Limits {
	set(&l.MaxBody, 8<<20)
	set(&l.MaxBuffered, 64<<20)
	l.MaxBuffered = max(l.MaxBuffered, 2*l.MaxBody)
	set(&l.MaxConcurrent, 128)
	set(&l.MaxConnections, 1024)
	set(&l.HeaderTimeout, 5*time.Second)
	set(&l.RequestTimeout, 15*time.Second)
	set(&l.IdleTimeout, time.Minute)
	set(&l.FailureRate, 10)
	set(&l.FailureBurst, 50)
	set(&l.TargetRate, 1000)
	set(&l.TargetBurst, 2000)
	set(&l.Replays, 8192)
	set(&l.ReplayAge, 10*time.Minute)
	return l
}

func set[T comparable](field *T, standard T) {
	var zero T
	if *field == zero {
		*field = standard
	}
}
