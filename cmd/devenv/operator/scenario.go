package operator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ScenarioName names the ConfigMap that tells the stand-in how things go. Whoever plays with it changes that:
//
//	kubectl patch configmap stand-in-operator --type=merge -p '{"data": {"dev-a": "oom"}}'
//
// A key is a cluster, with an Outcome as its value, or one of the keys below. What isn't there goes well.
const ScenarioName = "stand-in-operator"

// The keys that are no clusters; no cluster's name begins with an underscore.
const (
	// KeyOperator is "works" or "broken": a broken operator does nothing at all. Pods go on.
	KeyOperator = "_operator"
	// KeyScanning is "active" or "paused": what the operator is told in Mondoo's console, and writes to status.scanningPaused.
	KeyScanning = "_scanning"
)

// Outcome is what becomes of a cluster's scans, those that are on their way included.
type Outcome string

// The outcomes.
const (
	// Success is the default.
	Success Outcome = "success"
	// Fail: the scanner ends with exit code 1 and says why.
	Fail Outcome = "fail"
	// OutOfMemory: the scanner is killed at its memory limit.
	OutOfMemory Outcome = "oom"
	// ImagePull: the scanner's image can't be pulled.
	ImagePull Outcome = "image"
	// Hang: the scanner runs until its deadline.
	Hang Outcome = "hang"
	// Refuse: the operator can't use the entry, as when the login to Vault fails, and stops there.
	Refuse Outcome = "refuse"
)

var outcomes = []Outcome{Success, Fail, OutOfMemory, ImagePull, Hang, Refuse}

// Scenario is how things go.
type Scenario struct {
	Broken, Paused bool
	// Clusters have their outcomes by name.
	Clusters map[string]Outcome
}

// Outcome is that of a cluster's scans.
func (s Scenario) Outcome(cluster string) Outcome {
	if o, set := s.Clusters[cluster]; set && o != Refuse {
		return o
	}
	return Success
}

// ParseScenario reads a ConfigMap's data. What can't be understood is in the error, and goes well in the Scenario.
func ParseScenario(data map[string]string) (Scenario, error) {
	s := Scenario{Clusters: map[string]Outcome{}}
	var wrong []string
	for _, key := range slices.Sorted(maps.Keys(data)) {
		var known []Outcome
		value := Outcome(strings.TrimSpace(data[key]))
		switch key {
		case KeyOperator:
			known, s.Broken = []Outcome{"works", "broken"}, value == "broken"
		case KeyScanning:
			known, s.Paused = []Outcome{"active", "paused"}, value == "paused"
		default:
			if known = outcomes; slices.Contains(known, value) {
				s.Clusters[key] = value
			}
		}
		if !slices.Contains(known, value) {
			wrong = append(wrong, fmt.Sprintf("%s is %q, and there are only %s", key, value, join(known)))
		}
	}
	if wrong != nil {
		return s, fmt.Errorf("the ConfigMap %s: %s", ScenarioName, strings.Join(wrong, "; "))
	}
	return s, nil
}

func join(words []Outcome) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i > 0 && i == len(words)-1:
			b.WriteString(" and ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}
