package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"
)

// watchStatus shows the fleet until ctx ends. A terminal is redrawn. Anything else gets a line for each change, in text or JSON.
func (s *shell) watchStatus(ctx context.Context, c *cluster, flags statusFlags, want selection) error {
	at, screen := c, s.screen()
	if flags.allNamespaces {
		at = c.in("")
	}
	var before map[statusKey]statusLine
	return at.onChange(ctx, statusKinds(), func(notes []string) error {
		fleets, err := s.fleets(ctx, c, flags, want)
		if err != nil {
			return err
		}
		if screen && (flags.output.value == "text" || flags.output.value == "wide") {
			return s.redraw(fleets, notes, flags)
		}
		now := linesOf(fleets)
		for _, change := range changesOf(before, now) {
			if err := s.printChange(time.Now(), change, flags.output.value); err != nil {
				return err
			}
		}
		if before == nil {
			for _, note := range notes {
				fmt.Fprintln(s.stderr, "muster: "+note)
			}
		}
		before = now
		return nil
	})
}

// screen reports whether standard output is a terminal that can be redrawn.
func (s *shell) screen() bool {
	f := osFile(s.stdout)
	return f != nil && s.env("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// clearScreen moves to the upper left corner and clears the terminal. It doesn't pass safeWriter, which carries text of others.
const clearScreen = "\x1b[H\x1b[2J"

func (s *shell) redraw(fleets []fleetStatus, notes []string, flags statusFlags) error {
	if _, err := osFile(s.stdout).WriteString(clearScreen); err != nil {
		return err
	}
	if err := s.printFleets(s.stdout, fleets, flags); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.stdout, "%s\n", s.painter(s.stdout)(dim, strings.Join(append(slices.Clone(notes), time.Now().Format(time.TimeOnly)+"; Ctrl-C ends this"), "\n")))
	return err
}

// statusKey identifies an AuditSync, or a cluster of an audit config.
type statusKey struct{ Namespace, Sync, AuditConfig, Cluster string }

// statusLine is what a line says about one of them: nothing that changes with the time alone.
type statusLine struct {
	State    string `json:"state"`
	Revision string `json:"lastAppliedRevision,omitempty"` // of an AuditSync
	Clusters string `json:"clusters,omitempty"`            // of an AuditSync: how many are applied
	Scan     string `json:"scan,omitempty"`                // of a cluster
	Detail   string `json:"detail,omitempty"`
}

// linesOf are the lines for everything in the fleets.
func linesOf(fleets []fleetStatus) map[statusKey]statusLine {
	lines := map[statusKey]statusLine{}
	for _, f := range fleets {
		for _, sync := range f.Syncs {
			lines[statusKey{Namespace: f.Namespace, Sync: sync.Name}] = sync.line()
		}
		for _, c := range f.Clusters {
			line := statusLine{State: c.State, Detail: causeOf(c)}
			if c.Scan != nil {
				line.Scan = string(c.Scan.State)
				if c.Scan.Reason != "" {
					line.Scan += " (" + string(c.Scan.Reason) + ")"
				}
			}
			lines[statusKey{f.Namespace, c.Sync, c.AuditConfig, c.Cluster}] = line
		}
	}
	return lines
}

func (sync syncStatus) line() statusLine {
	state, _ := sync.state()
	var causes []string
	for _, c := range sync.unmet() {
		causes = append(causes, strings.TrimSuffix(c.types+": "+c.reason+": "+cut(c.message, maxMessage), ": "))
	}
	return statusLine{State: state, Revision: sync.Revision, Clusters: sync.countsText(), Detail: strings.Join(causes, "; ")}
}

// statusChange is the new line of an AuditSync or a cluster. A removed one has its last.
type statusChange struct {
	statusKey
	statusLine
	Change string // Added, Modified or Removed, as in watches
}

// changesOf compares two moments. AuditSyncs come before clusters.
func changesOf(before, now map[statusKey]statusLine) []statusChange {
	var changes []statusChange
	for key, line := range now {
		if old, known := before[key]; !known {
			changes = append(changes, statusChange{key, line, "Added"})
		} else if old != line {
			changes = append(changes, statusChange{key, line, "Modified"})
		}
	}
	for key, line := range before {
		if _, still := now[key]; !still {
			changes = append(changes, statusChange{key, line, "Removed"})
		}
	}
	slices.SortFunc(changes, func(a, b statusChange) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Cluster, b.Cluster), strings.Compare(a.AuditConfig, b.AuditConfig), strings.Compare(a.Sync, b.Sync))
	})
	return changes
}

func (s *shell) printChange(now time.Time, c statusChange, format string) error {
	if format == "json" || format == "yaml" {
		return s.printChangeDocument(now, c, format)
	}
	kind, name, short := "AuditSync", c.Sync, syncName(c.Sync)
	if c.Cluster != "" {
		kind, name, short = "cluster", c.Cluster, c.Cluster
	}
	if format == "name" {
		_, err := fmt.Fprintln(s.stdout, printable(s.redactor.String(short)))
		return err
	}
	parts := []string{now.UTC().Format(time.RFC3339), kind, c.Namespace + "/" + name, c.State}
	if c.Change == "Removed" {
		parts[3] = "removed"
	} else {
		parts = append(parts, shortRevision(c.Revision), c.Clusters, c.Scan, c.Detail)
	}
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
	_, err := fmt.Fprintln(s.stdout, printable(s.redactor.String(strings.Join(parts, "  "))))
	return err
}

// printChangeDocument writes a change as JSON on one line, or as a YAML document.
func (s *shell) printChangeDocument(now time.Time, c statusChange, format string) error {
	document := struct {
		Time        time.Time `json:"time"`
		Change      string    `json:"change"`
		Namespace   string    `json:"namespace"`
		Sync        string    `json:"sync,omitempty"`
		AuditConfig string    `json:"auditConfig,omitempty"`
		Cluster     string    `json:"cluster,omitempty"`
		statusLine
	}{now.UTC().Truncate(time.Second), c.Change, c.Namespace, c.Sync, c.AuditConfig, c.Cluster, c.statusLine}
	document.Detail = s.redactor.String(document.Detail)
	if format == "yaml" {
		if _, err := fmt.Fprintln(s.stdout, "---"); err != nil {
			return err
		}
		return writeYAML(s.stdout, document)
	}
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return err
	}
	_, err := s.stdout.Write(line.Bytes())
	return err
}
