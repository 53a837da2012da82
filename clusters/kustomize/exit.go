package kustomize

import (
	"io"
	"runtime"
	"strings"
)

// Log is for log.SetOutput. It discards messages, which may quote a value, and turns log.Fatal into a panic. kustomize calls
// log.Fatal on some input, such as a generator that merges into a Secret with an empty key, so a repository could end the
// process. Kustomize turns the panic into an error.
var Log io.Writer = logWriter{}

type logWriter struct{}

func (logWriter) Write(text []byte) (int, error) {
	const depth = 16
	callers := make([]uintptr, depth)
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers)])
	for {
		frame, more := frames.Next()
		if strings.HasPrefix(frame.Function, "log.Fatal") {
			panic(errPanic)
		}
		if !more {
			return len(text), nil
		}
	}
}
