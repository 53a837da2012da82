package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// offline runs a command that looks at files alone, which must end well.
func (m *management) offline(args ...string) string {
	m.Helper()
	var out bytes.Buffer
	none := func(name string) string { return map[string]string{"XDG_CONFIG_HOME": "/nowhere"}[name] }
	if got := run(m.Context(), args, strings.NewReader(""), &out, &out, none); got != exitOK {
		m.Errorf("muster %s ends with %d:\n%s", strings.Join(args, " "), got, out.String())
	}
	return out.String()
}

// TestLiveSchedule: the audit config isn't in Git, so that only the management cluster knows what its clusters inherit.
func TestLiveSchedule(t *testing.T) {
	m := startManagement(t)
	m.grant(readOnly("get")...)
	m.write("eu.yaml", "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: eu}\nspec: {kubeconfigSecretRef: {name: manual}}\n")
	m.commit()
	live := func(resources map[string]any) {
		m.apply(auditConfigs, "somebody", map[string]any{"apiVersion": "k8s.mondoo.com/v1alpha2", "kind": "MondooAuditConfig", "metadata": map[string]any{"name": "mondoo-client"},
			"spec": map[string]any{"mondooCredsSecretRef": map[string]any{"name": "mondoo-client"}, "kubernetesResources": resources}})
	}
	made := regexp.MustCompile(`schedule: \d+ \* \* \* \*`)
	for _, row := range []struct {
		reason    string
		resources map[string]any
		explained string
		made      bool
	}{
		{"it has a schedule", map[string]any{"enable": true, "schedule": "7 3 * * *"}, `schedule +7 3 \* \* \* +inherited from spec.kubernetesResources.schedule of the audit config mondoo-client`, false},
		{"it has none, and the operator would refuse the entry", map[string]any{"enable": false}, `schedule +\d+ \* \* \* \* `, true},
	} {
		live(row.resources)
		for _, command := range [][]string{{"render", m.dir}, {"lint", m.dir}, {"explain", "eu", m.dir}} {
			if out := m.offline(command...); !strings.Contains(out, "unknown here") || made.MatchString(out) || strings.Contains(out, "7 3 * * *") {
				t.Errorf("%s: offline, %s says\n%s", row.reason, command[0], out)
			}
			out, errs := m.look(exitOK, append(command, "--live")...)
			if strings.Contains(out+errs, "unknown here") {
				t.Errorf("%s: live, %s says\n%s%s", row.reason, command[0], out, errs)
			}
			switch command[0] {
			case "render":
				if made.MatchString(out) != row.made {
					t.Errorf("%s: rendered is\n%s", row.reason, out)
				}
			case "lint":
				if strings.Contains(out, "[default-schedule]") != row.made {
					t.Errorf("%s: lint says\n%s", row.reason, out)
				}
			case "explain":
				if !regexp.MustCompile(row.explained).MatchString(out) {
					t.Errorf("%s: explained is\n%s", row.reason, out)
				}
			}
		}
	}
	// What many clusters inherit from it is seen as well.
	live(map[string]any{"enable": true, "schedule": "7 3 * * *"})
	for name := range strings.SplitSeq("abcdefghij", "") {
		m.write(name+".yaml", "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: "+name+"}\nspec: {kubeconfigSecretRef: {name: manual}}\n")
	}
	if out := m.offline("lint", m.dir); strings.Contains(out, "start their scans") {
		t.Errorf("offline: %s", out)
	}
	if out, _ := m.look(exitOK, "lint", m.dir, "--live"); !strings.Contains(out, "11 clusters of the audit config mondoo-client start their scans at 03:07") {
		t.Errorf("live: %s", out)
	}
}
