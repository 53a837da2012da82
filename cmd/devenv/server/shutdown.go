package server

import (
	"cmp"
	"context"
	"io"
	"os"
	"sync"
	"time"
)

// shutdown ends a server once, however often and from wherever it is called: its Stop, the end of its context, or a start
// that failed half-way.
type shutdown struct {
	unbind func() bool
	once   sync.Once
	err    error
}

// with ends the server with ctx.
func (s *shutdown) with(ctx context.Context, end func() error) {
	s.unbind = context.AfterFunc(ctx, func() { s.run(end) })
}

// now ends the server, unless it has ended already, and returns the result.
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

// orDefaults are the defaults of the options that all servers have: the writer for progress, and the timeout of a start. A
// start takes seconds, but longer on a machine that starts several servers at once while it compiles.
func orDefaults(log io.Writer, timeout time.Duration) (io.Writer, time.Duration) {
	if log == nil {
		log = os.Stderr
	}
	return log, cmp.Or(timeout, 3*time.Minute)
}
