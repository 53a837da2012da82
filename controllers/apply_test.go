package controllers

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestEach(t *testing.T) {
	// An admission webhook may refuse with any code, and without a reason.
	refused := &ApplyError{Kind: "Secret", Name: "s", Err: &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusTeapot}}}
	silent := &ApplyError{Kind: "Secret", Name: "s", Err: errors.New("connection refused")}
	const n = 100
	for _, test := range []struct {
		reason string
		ended  bool
		err    error
		// tried is how many writes there may be, and failed how many errors there must be.
		tried, failed int
	}{
		{"all are written", false, nil, n, 0},
		{"what is refused holds up nothing", false, refused, n, n},
		{"nobody answers: those that have begun are the last", false, silent, 2 * writers, n},
		{"the process ends", true, nil, 0, n},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if test.ended {
			cancel()
		}
		var tried atomic.Int32
		failed := 0
		for _, err := range each(ctx, make([]int, n), func(context.Context, int) error {
			tried.Add(1)
			return test.err
		}) {
			if err != nil {
				failed++
			}
		}
		if got := int(tried.Load()); got > test.tried || test.tried == n && got != n || failed != test.failed {
			t.Errorf("%s: %d tried, %d failed", test.reason, got, failed)
		}
		cancel()
	}
}

func TestFirstOf(t *testing.T) {
	one, two := &ApplyError{Kind: "Secret", Name: "one", Err: errors.New("x")}, &ApplyError{Kind: "Secret", Name: "two", Err: errors.New("y")}
	for _, test := range []struct {
		err  error
		want string
	}{
		{one, "apply Secret one: x"},
		{errors.Join(one), "apply Secret one: x"},
		{errors.Join(one, two, errNotTried), "apply Secret one: x; and 2 more that could not be written"},
	} {
		if got := firstOf(test.err); got != test.want {
			t.Errorf("%s, want %s", got, test.want)
		}
	}
}
