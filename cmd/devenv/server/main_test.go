package server

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
)

// plane serves all tests that don't stop or restart theirs. With -short there is none, and those tests are skipped.
var plane *ControlPlane

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		dieWithChild()
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if flag.Parse(); testing.Short() {
		return m.Run()
	}
	var err error
	if plane, err = StartControlPlane(context.Background(), ControlPlaneOptions{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := plane.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
