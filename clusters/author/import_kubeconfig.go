package author

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
)

// kubeconfig is what an import reads and writes of a kubeconfig. Contents of clusters and users pass through.
type kubeconfig struct {
	APIVersion     string       `yaml:"apiVersion" json:"apiVersion"`
	Kind           string       `yaml:"kind" json:"kind"`
	Clusters       []named      `yaml:"clusters" json:"clusters"`
	Users          []named      `yaml:"users" json:"users"`
	Contexts       []kubeAccess `yaml:"contexts" json:"contexts"`
	CurrentContext string       `yaml:"current-context" json:"current-context"`
}

type named struct {
	Name    string         `yaml:"name" json:"name"`
	Cluster map[string]any `yaml:"cluster,omitempty" json:"cluster,omitempty"`
	User    map[string]any `yaml:"user,omitempty" json:"user,omitempty"`
}

type kubeAccess struct {
	Name    string `yaml:"name" json:"name"`
	Context struct {
		Cluster string `yaml:"cluster" json:"cluster"`
		User    string `yaml:"user" json:"user"`
	} `yaml:"context" json:"context"`
}

// maxKubeconfig bounds a kubeconfig with many contexts. It is the user's own.
const maxKubeconfig = 8 << 20

func parseKubeconfig(data []byte) (k kubeconfig, err error) {
	if len(data) > maxKubeconfig {
		return k, fmt.Errorf("the kubeconfig is larger than %d MiB", maxKubeconfig>>20)
	}
	if yaml.Unmarshal(data, &k) != nil { // the error may quote a token
		return k, fmt.Errorf("the kubeconfig is not YAML")
	}
	return k, nil
}

// Contexts imports every context of a kubeconfig with read, which returns the cluster file of one of them, under this name.
func (im *Import) Contexts(data []byte, read func(name string, data []byte, context string) (*Draft, error)) error {
	all, err := parseKubeconfig(data)
	if err != nil {
		return err
	}
	names := map[string][]string{}
	for _, c := range all.Contexts {
		names[ClusterName(c.Name)] = append(names[ClusterName(c.Name)], c.Name)
	}
	for _, c := range all.Contexts {
		name := ClusterName(c.Name)
		if same := names[name]; len(same) > 1 || name == "" {
			im.leave(c.Name, fmt.Sprintf("its name as a cluster would be %q, like that of %d contexts", name, len(same)), "rename the context: kubectl config rename-context")
			continue
		}
		d, err := read(name, data, c.Name)
		if err != nil {
			im.leave(c.Name, err.Error(), "")
			continue
		}
		if name != c.Name {
			d.note("it is the context %s", c.Name)
		}
		im.add(d)
	}
	return nil
}

// OneContext returns the cluster file of a context whose credentials are all in the kubeconfig.
func OneContext(now time.Time) func(name string, data []byte, context string) (*Draft, error) {
	return func(name string, data []byte, context string) (*Draft, error) {
		all, err := parseKubeconfig(data)
		if err != nil {
			return nil, err
		}
		all.Contexts = slices.DeleteFunc(all.Contexts, func(c kubeAccess) bool { return c.Name != context })
		if len(all.Contexts) != 1 {
			return nil, fmt.Errorf("the kubeconfig has %d contexts of this name", len(all.Contexts))
		}
		all.Clusters = slices.DeleteFunc(all.Clusters, func(n named) bool { return n.Name != all.Contexts[0].Context.Cluster })
		all.Users = slices.DeleteFunc(all.Users, func(n named) bool { return n.Name != all.Contexts[0].Context.User })
		all.CurrentContext = context
		return kubeconfigDraft(name, all, now)
	}
}

// kubeconfigDraft returns the cluster file with a kubeconfig. The error says why the scanner can't use it, without any of it.
func kubeconfigDraft(name string, k kubeconfig, now time.Time) (*Draft, error) {
	k.APIVersion, k.Kind = "v1", "Config"
	text, err := Document(&k, "")
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig can't be written as YAML")
	}
	return textDraft(name, text, now)
}

// textDraft returns the cluster file with a kubeconfig as it is.
func textDraft(name string, text []byte, now time.Time) (*Draft, error) {
	if !exact(text) {
		return nil, fmt.Errorf("the kubeconfig is not a text that a YAML file keeps")
	}
	facts, problems := credential.Kubeconfig(text, now)
	d := New(name)
	for _, p := range problems {
		if p.Severity == finding.Error {
			return nil, fmt.Errorf("%s (%s)", p.Message, p.Code)
		}
		d.note("%s (%s)", p.Message, p.Code)
	}
	if !facts.Expires.IsZero() {
		d.note("its credentials expire on %s", facts.Expires.UTC().Format(time.DateOnly))
	}
	d.Cluster.Spec.Kubeconfig = string(text)
	return d, nil
}

// ClusterName makes the name of a cluster of another name: lower-case letters, digits and dashes.
func ClusterName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, name)
	for strings.Contains(name, "--") {
		name = strings.ReplaceAll(name, "--", "-")
	}
	name = strings.Trim(name, "-")
	return strings.Trim(name[max(0, len(name)-63):], "-") // the end tells more than the beginning: arn:aws:eks:…/prod
}

// AdminSecret imports the kubeconfig of a cluster that Cluster API made.
func (im *Import) AdminSecret(secret string, data map[string][]byte) {
	name := strings.TrimSuffix(secret, "-kubeconfig")
	value, has := data["value"]
	if !has {
		im.leave(name, "the Secret "+secret+" has no key value", "wait until Cluster API has made the cluster")
		return
	}
	d, err := textDraft(ClusterName(name), value, im.Now)
	if err != nil {
		im.leave(name, err.Error(), "")
		return
	}
	d.note("Cluster API renews this kubeconfig, and its user may do everything; muster add makes a ServiceAccount that only reads")
	im.add(d)
}
