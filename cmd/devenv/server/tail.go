package server

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
)

// tailSize is how much of an output an error repeats.
const tailSize = 4 << 10

// tail keeps the end of the data written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// fileTail returns the last lines of a log, or the reason why it can't be read. It is meant for error messages.
func fileTail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if _, err := f.Seek(-tailSize, io.SeekEnd); err != nil && !errors.Is(err, os.ErrInvalid) {
		f.Seek(0, io.SeekStart) // the file is shorter than tailSize
	}
	content, err := io.ReadAll(io.LimitReader(f, tailSize))
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(content))
}
