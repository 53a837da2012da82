package server

import (
	"flag"
	"fmt"
	"testing"
)

// SkipShort skips a test that starts servers when -short is given: `go test -short ./...` builds none.
func SkipShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts servers; run it without -short")
	}
}

// Short reports whether -short is given, for the TestMain of a package whose tests all need servers.
func Short() bool {
	flag.Parse()
	if testing.Short() {
		fmt.Println("all tests start servers; run them without -short")
	}
	return testing.Short()
}
