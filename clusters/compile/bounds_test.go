package compile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestSharedKubeconfig: many clusters may name one large file, and each would have a Secret with all of it.
func TestSharedKubeconfig(t *testing.T) {
	sealed := sealtest.NewKey(t).Encrypt(t, "k", strings.Repeat("x", 1<<20), sealtest.Everything)
	for clusters, stopped := range map[int]bool{100: false, 200: true} {
		files := map[string]string{"m.yaml": configFile("kubernetesResources: {schedule: '@daily'}"), "k": sealed}
		for i := range clusters {
			files[fmt.Sprintf("c%d.yaml", i)] = clusterFile(fmt.Sprintf("c%d", i), "{kubeconfigFile: k}")
		}
		fleet := of(t, files)
		large := slices.ContainsFunc(fleet.Findings, func(f finding.Finding) bool { return f.Code == load.CodeSize && f.Path == "f" })
		if fleet.Stopped != stopped || large != stopped || len(fleet.Secrets) > 0 == stopped {
			t.Errorf("%d clusters: stopped %t, %d Secrets, %v", clusters, fleet.Stopped, len(fleet.Secrets), fleet.Findings)
		}
	}
}

// TestManySopsConfigs: a small repository can have one large .sops.yaml in every folder.
func TestManySopsConfigs(t *testing.T) {
	config := "creation_rules: [{age: age1x}]\n" + strings.Repeat("# a line of a long comment\n", 7000)
	for folders, refused := range map[int]bool{20: false, 40: true} {
		files := map[string]string{"m.yaml": configFile("kubernetesResources: {schedule: '@daily'}")}
		for i := range folders {
			files[fmt.Sprintf("d%d/c.yaml", i)] = clusterFile(fmt.Sprintf("c%d", i), "{kubeconfigSecretRef: {name: k}}")
			files[fmt.Sprintf("d%d/.sops.yaml", i)] = config
		}
		fleet := of(t, files)
		if got := slices.ContainsFunc(fleet.Findings, func(f finding.Finding) bool { return f.Code == compile.CodeSopsConfig }); got != refused || finding.Errors(fleet.Findings) > 0 {
			t.Errorf("%d folders: %v", folders, fleet.Findings)
		}
	}
}
