package webhook

import (
	"fmt"
	"time"

	"golang.org/x/time/rate"
)

// Limits bound the receiver's resources. Zero values are the defaults.
type Limits struct {
	// MaxBody is the largest body that is read, in bytes. GitHub delivers up to 25 MB, of which Muster needs only the names
	// of the ref and the repository: a push of a few thousand commits has several MiB. A change whose delivery is dropped is
	// found at the next interval. Default: 8 MiB.
	MaxBody int64
	// MaxBuffered is how many bytes of bodies are in memory at once, beyond the first 64 KiB of each, into which nearly all
	// deliveries fit. One source can use half of it. Default: 64 MiB, and at least twice MaxBody.
	MaxBuffered int64
	// MaxConcurrent is how many deliveries are read at once. One source can use a quarter of them. Others wait for a moment.
	// Default: 128.
	MaxConcurrent int
	// MaxConnections is how many connections are open at once. One source can use a quarter of them. More are closed at
	// once. Default: 1024.
	MaxConnections int
	// HeaderTimeout, RequestTimeout and IdleTimeout bound how long a client may take for its headers, for a complete
	// request, and until the next one. Defaults: 5s, 15s, 60s.
	HeaderTimeout, RequestTimeout, IdleTimeout time.Duration
	// FailureRate and FailureBurst are how many unverified deliveries per second a source may send before it has to wait.
	// Defaults: 10, 50.
	FailureRate  rate.Limit
	FailureBurst int
	// TargetRate and TargetBurst are how many verified deliveries per second a target accepts. Defaults: 1000, 2000.
	TargetRate  rate.Limit
	TargetBurst int
	// Replays is how many deliveries are remembered, and ReplayAge for how long. A delivery that a user resends later counts
	// as new, which is intended. Defaults: 8192, 10m.
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

// Validate reports values that can't work.
func (l Limits) Validate() error {
	switch {
	case l.MaxBody < 0 || l.MaxBody > 0 && l.MaxBody < 1<<10:
		return fmt.Errorf("the largest body is %d bytes; it must be at least 1 KiB", l.MaxBody)
	case l.MaxBody > 256<<20:
		return fmt.Errorf("the largest body is %d bytes; no forge sends more than 25 MB, and the maximum is 256 MiB", l.MaxBody)
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
