package mondoo_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

func TestEntries(t *testing.T) {
	tests := []struct {
		reason, text string
		want         []map[string]any
	}{
		{"two", "spec: {kubernetesResources: {externalClusters: [{name: a}, {name: b}]}}", []map[string]any{{"name": "a"}, {"name": "b"}}},
		{"none", "spec: {kubernetesResources: {externalClusters: []}}", []map[string]any{}},
		{"null list", "spec: {kubernetesResources: {externalClusters: null}}", nil},
		{"no list", "spec: {kubernetesResources: {}}", nil},
		{"no resources", "spec: {}", nil},
		{"null spec", "spec:", nil},
		{"no spec", "{}", nil},
	}
	for _, test := range tests {
		got, err := mondoo.Entries(object(t, test.text))
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %v, %v; want %v", test.reason, got, err, test.want)
		}
	}
}

func TestEntriesRefusesAndSetLeavesAlone(t *testing.T) {
	for text, path := range map[string]string{
		"spec: []":                         "spec",
		"spec: {kubernetesResources: yes}": "spec.kubernetesResources",
		"spec: {kubernetesResources: {externalClusters: {name: a}}}":      "spec.kubernetesResources.externalClusters",
		"spec: {kubernetesResources: {externalClusters: [{name: a}, a]}}": "spec.kubernetesResources.externalClusters",
	} {
		obj := object(t, text)
		_, err := mondoo.Entries(obj)
		var shape *mondoo.ShapeError
		if !errors.As(err, &shape) || shape.Path != path {
			t.Errorf("%s: %v", text, err)
		}
		if path == "spec.kubernetesResources.externalClusters" {
			continue // a wrong list is replaced
		}
		if err := mondoo.SetEntries(obj, nil); !errors.As(err, &shape) || !reflect.DeepEqual(obj, object(t, text)) {
			t.Errorf("SetEntries on %s: %v, %v", text, err, obj)
		}
	}
}

func TestSetEntries(t *testing.T) {
	for text, want := range map[string]string{
		"{}": "spec: {kubernetesResources: {externalClusters: [{name: a}]}}",
		"spec: {filtering: {}, kubernetesResources: {enable: true, externalClusters: [{name: b}, {name: c}]}}": "spec: {filtering: {}, kubernetesResources: {enable: true, externalClusters: [{name: a}]}}",
		"spec: {kubernetesResources: null}": "spec: {kubernetesResources: {externalClusters: [{name: a}]}}",
	} {
		obj := object(t, text)
		if err := mondoo.SetEntries(obj, []map[string]any{{"name": "a"}}); err != nil || !reflect.DeepEqual(obj, object(t, want)) {
			t.Errorf("%s: %v, %v", text, obj, err)
		}
	}
	obj := map[string]any{}
	if err := mondoo.SetEntries(obj, nil); err != nil || !reflect.DeepEqual(obj, object(t, "spec: {kubernetesResources: {externalClusters: []}}")) {
		t.Errorf("no entries: %v, %v", obj, err)
	}
}

func TestNeedsSchedule(t *testing.T) {
	for text, want := range map[string]bool{
		"{}":                              true,
		"spec: {kubernetesResources: {}}": true,
		"spec: {kubernetesResources: {enable: false}}":                      true,
		"spec: {kubernetesResources: {schedule: ''}}":                       true,
		"spec: {kubernetesResources: {schedule: [a]}}":                      true,
		"spec: {kubernetesResources: {enable: 'true'}}":                     true,
		"spec: {kubernetesResources: []}":                                   true,
		"spec: {kubernetesResources: {enable: true}}":                       false,
		"spec: {kubernetesResources: {schedule: 0 * * * *}}":                false,
		"spec: {kubernetesResources: {enable: false, schedule: 0 * * * *}}": false,
	} {
		if got := mondoo.NeedsSchedule(object(t, text)); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}
