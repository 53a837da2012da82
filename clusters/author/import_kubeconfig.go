package author

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/setup"
)

// kubeconfig is a kubeconfig that an import writes. Contents of clusters and users pass through.
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

// Contexts imports every context of a kubeconfig. readFile reads the files that it names.
func (im *Import) Contexts(config *clientcmdapi.Config, readFile func(string) ([]byte, error)) {
	contexts := slices.Sorted(maps.Keys(config.Contexts))
	same := map[string]int{}
	for _, context := range contexts {
		same[ClusterName(context)]++
	}
	for _, context := range contexts {
		name := ClusterName(context)
		if n := same[name]; n > 1 || name == "" {
			im.leave(context, fmt.Sprintf("its name as a cluster would be %q, like that of %d contexts", name, n), "rename the context: kubectl config rename-context")
			continue
		}
		im.context(Kubeconfig{Config: config, Context: context, ReadFile: readFile}, name)
	}
}

func (im *Import) context(k Kubeconfig, name string) {
	d, err := k.Draft(name)
	unusable, _ := errors.AsType[*UnusableError](err)
	switch {
	case unusable != nil:
		im.leave(k.Context, unusable.Reason, "muster add "+name+" --from-context "+setup.Quote(k.Context)+": "+unusable.Fix)
		return
	case err != nil:
		im.leave(k.Context, err.Error(), "")
		return
	case d.Cluster.Spec.WorkloadIdentity != nil:
		im.leave(k.Context, "it logs in with the program of a cloud, and the kubeconfig doesn't tell the identity that may scan", "muster add "+name+" --from-context "+setup.Quote(k.Context)+" asks for it")
		return
	}
	if problem := d.checkCredential(im.Now); problem != "" {
		im.leave(k.Context, problem, "")
		return
	}
	if name != k.Context {
		d.note("it is the context %s", k.Context)
	}
	im.add(d)
}

// checkCredential returns why the scanner can't use the credentials of the draft, without any of them, or "". What else is to be
// known goes to the notes.
func (d *Draft) checkCredential(now time.Time) string {
	expires, problems := d.Credentials(now)
	for _, p := range problems {
		if p.Severity == finding.Error {
			return fmt.Sprintf("%s (%s)", p.Message, p.Code)
		}
		d.note("%s (%s)", p.Message, p.Code)
	}
	if !expires.IsZero() {
		d.note("its credentials expire on %s", expires.UTC().Format(time.DateOnly))
	}
	return ""
}

// kubeconfigDraft returns the cluster file with a kubeconfig. The error is the reason why the scanner can't use it, without any of it.
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
	d := New(name)
	d.Cluster.Spec.Kubeconfig = string(text)
	if problem := d.checkCredential(now); problem != "" {
		return nil, errors.New(problem)
	}
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
