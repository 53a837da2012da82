package e2e_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// statuses returns all statuses of the plan that a head had, oldest first.
func (p *pulls) statuses(head string) []server.GiteaStatus {
	p.Helper()
	all, err := p.gitea.Statuses(p.Context(), repository, head)
	must(p, err)
	return slices.DeleteFunc(all, func(s server.GiteaStatus) bool { return s.Context != planned })
}

// results are the results that a head had, a line each, in their order. How long a check takes depends on the machine, and so it
// may have been pending before each of them.
func (p *pulls) results(head string, statuses []server.GiteaStatus) (lines string) {
	p.Helper()
	committed, err := strconv.ParseInt(p.git("show", "-s", "--format=%ct", head), 10, 64)
	must(p, err)
	results, err := resultsOf(statuses, time.Unix(committed, 0))
	if err != nil {
		p.Errorf("the statuses of %s: %v: %+v", head, err, statuses)
	}
	for _, s := range results {
		lines += s.State + ": " + s.Description + "\n"
	}
	return lines
}

// resultsOf leaves out the pending ones. Each must be replaced by a result, must say so, and can't be there in the first second
// after the head was made.
func resultsOf(statuses []server.GiteaStatus, committed time.Time) (results []server.GiteaStatus, err error) {
	for i, s := range statuses {
		switch {
		case s.State != "pending":
			results = append(results, s)
		case s.Description != "is being checked":
			return nil, fmt.Errorf("pending, but %q", s.Description)
		case s.Created.Before(committed.Add(time.Second)):
			return nil, fmt.Errorf("pending %s after the commit", s.Created.Sub(committed))
		case i+1 == len(statuses) || statuses[i+1].State == "pending":
			return nil, fmt.Errorf("pending is not replaced by a result")
		}
	}
	return results, nil
}

func TestResultsOf(t *testing.T) {
	committed := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	status := func(second int, state string) server.GiteaStatus {
		return server.GiteaStatus{State: state, Description: "is being checked", Created: committed.Add(time.Duration(second) * time.Second)}
	}
	for _, row := range []struct {
		reason   string
		statuses []server.GiteaStatus
		want     string
	}{
		{"quick", []server.GiteaStatus{status(0, "success")}, "success"},
		{"slow", []server.GiteaStatus{status(1, "pending"), status(2, "success")}, "success"},
		{"success first", []server.GiteaStatus{status(0, "success"), status(1, "failure")}, "success failure"},
		{"slow at its second check", []server.GiteaStatus{status(0, "success"), status(3, "pending"), status(4, "failure")}, "success failure"},
		{"pending at once", []server.GiteaStatus{status(0, "pending"), status(1, "success")}, "error"},
		{"pending at last", []server.GiteaStatus{status(1, "success"), status(3, "pending")}, "error"},
		{"pending twice", []server.GiteaStatus{status(1, "pending"), status(1, "pending"), status(3, "success")}, "error"},
		{"pending with another text", []server.GiteaStatus{{State: "pending", Created: committed.Add(time.Minute)}, status(61, "success")}, "error"},
	} {
		var got []string
		results, err := resultsOf(row.statuses, committed)
		for _, s := range results {
			got = append(got, s.State)
		}
		if err != nil {
			got = []string{"error"}
		}
		if got := strings.Join(got, " "); got != row.want {
			t.Errorf("%s: %s, want %s", row.reason, got, row.want)
		}
	}
}
