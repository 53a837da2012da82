package operator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ScenarioName is the name of the ConfigMap with the scenario of the stand-in. Change it to play with the demo:
//
//	kubectl patch configmap stand-in-operator --type=merge -p '{"data": {"dev-a": "oom"}}'
//
// A key is a cluster with an Outcome as its value, or one of the keys below. Missing clusters succeed.
const ScenarioName = "stand-in-operator"

// The keys that are not clusters; no cluster's name begins with an underscore.
const (
	// KeyOperator is "works" or "broken": a broken operator does nothing at all, but Pods continue.
	KeyOperator = "_operator"
	// KeyScanning is "active" or "paused": the setting in Mondoo's console, which the operator writes to status.scanningPaused.
	KeyScanning = "_scanning"
)

// Outcome is the result of a cluster's scans, including running ones.
type Outcome string

// The outcomes.
const (
	// Success is the default.
	Success Outcome = "success"
	// Fail: the scanner ends with exit code 1 and a message.
	Fail Outcome = "fail"
	// OutOfMemory: the scanner is killed at its memory limit.
	OutOfMemory Outcome = "oom"
	// ImagePull: the scanner's image can't be pulled.
	ImagePull Outcome = "image"
	// Hang: the scanner runs until its deadline.
	Hang Outcome = "hang"
	// Refuse: the operator can't use the entry, as after a failed login to Vault, and stops there.
	Refuse Outcome = "refuse"
)

var outcomes = []Outcome{Success, Fail, OutOfMemory, ImagePull, Hang, Refuse}

// Scenario defines the results of scans and the state of the operator.
type Scenario struct {
	Broken, Paused bool
	// Clusters are the outcomes by cluster name.
	Clusters map[string]Outcome
}

// Outcome is the outcome of a cluster's scans.
func (s Scenario) Outcome(cluster string) Outcome {
	if o, set := s.Clusters[cluster]; set && o != Refuse {
		return o
	}
	return Success
}

// ParseScenario parses a ConfigMap's data. Unknown values are reported in the error, and count as success in the Scenario.
func ParseScenario(data map[string]string) (Scenario, error) {
	s := Scenario{Clusters: map[string]Outcome{}}
	var problems []string
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
			problems = append(problems, fmt.Sprintf("%s is %q, but must be one of %s", key, value, join(known)))
		}
	}
	if problems != nil {
		return s, fmt.Errorf("the ConfigMap %s: %s", ScenarioName, strings.Join(problems, "; "))
	}
	return s, nil
}

func join(words []Outcome) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i > 0 && i == len(words)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}
