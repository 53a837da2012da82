package server

import (
	"cmp"
	"context"
	"io"
	"os"
	"sync"
	"time"
)

// shutdown ends a server once, whoever asks for it and how often: its Stop, the context that it was started with, or a start
// that has failed half-way.
type shutdown struct {
	unbind func() bool
	once   sync.Once
	err    error
}

// with has the server end with ctx.
func (s *shutdown) with(ctx context.Context, end func() error) {
	s.unbind = context.AfterFunc(ctx, func() { s.run(end) })
}

// now ends the server, unless that is done, and returns what came of it.
func (s *shutdown) now(end func() error) error {
	if s.unbind != nil {
		s.unbind()
	}
	return s.run(end)
}

func (s *shutdown) run(end func() error) error {
	s.once.Do(func() { s.err = end() })
	return s.err
}

// orDefaults are the options that all servers have: where progress goes, and how long a start may take. That takes seconds, but
// on a machine that starts several at once while it compiles.
func orDefaults(log io.Writer, timeout time.Duration) (io.Writer, time.Duration) {
	if log == nil {
		log = os.Stderr
	}
	return log, cmp.Or(timeout, 3*time.Minute)
}
