package server

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// lock takes the exclusive advisory lock on path, which is created if necessary and remains. The kernel releases it when its
// holder dies, so a lock is never stale. flock itself can't be interrupted, so lock polls.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	retry := time.NewTicker(200 * time.Millisecond)
	defer retry.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, err
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		}
	}
}
