package compile

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/schedule"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Codes of findings that need more than a single cluster file.
const (
	CodeSameMinute  finding.Code = "same-minute"                // many clusters are scanned in the same minute
	CodePodSecurity finding.Code = "spiffe-pod-security"        // the namespace refuses the Pods of SPIFFE scans
	CodeRegistryWI  finding.Code = "registry-workload-identity" // a cluster can't use the audit config's workload identity for registries
	CodePurgeWindow finding.Code = "purge-window"               // the operator deletes a cluster's assets before its next scan
	CodeViewRole    finding.Code = "view-role"                  // the usual role of a token can't read everything
)

const (
	// crowd is how many clusters in one minute cause a warning.
	crowd = 10
	// hostPathLevel is the only Pod Security level that allows hostPath volumes.
	hostPathLevel = "privileged"
)

// fleetWide adds findings that need the whole fleet or the namespace. It is called once, after every cluster is
// compiled, and looks at each cluster a bounded number of times.
func fleetWide(f *fleet.Sealed, opts Options, place func(fleet.Origin, []string) finding.Finding) {
	w := &fleetChecks{fleet: f, opts: opts, place: place}
	members := map[string][]*fleet.Cluster{}
	var tokens []*fleet.Cluster
	for i := range f.Clusters {
		c := &f.Clusters[i]
		if c.Quarantined {
			continue
		}
		members[c.AuditConfig] = append(members[c.AuditConfig], c)
		w.podSecurity(c)
		if c.Entry.ServiceAccountAuth != nil {
			tokens = append(tokens, c)
		}
	}
	w.viewRole(tokens)
	for _, config := range f.AuditConfigs {
		w.auditConfig(config)
		w.allowed(config)
		w.sameMinute(config, members[config.Name])
		w.purgeWindow(config, members[config.Name])
		w.registries(config, members[config.Name])
	}
}

type fleetChecks struct {
	fleet *fleet.Sealed
	opts  Options
	place func(fleet.Origin, []string) finding.Finding
}

// at returns a finding at a field of a cluster's file. For an entry in an audit config, it is the place of the list.
func (w *fleetChecks) at(c *fleet.Cluster, field ...string) finding.Finding {
	if c.File == nil {
		field = []string{"spec", "kubernetesResources", "externalClusters"}
	}
	return w.place(c.Origin, append([]string(nil), field...))
}

func (w *fleetChecks) add(f finding.Finding, code finding.Code, severity finding.Severity, message, fix string) {
	f.Code, f.Severity, f.Message, f.Fix = code, severity, message, fix
	w.fleet.Add(f)
}

// object returns an audit config from Git or else from the management cluster; nil if neither is known.
func (w *fleetChecks) object(config fleet.AuditConfig) map[string]any {
	if config.Object != nil {
		return config.Object
	}
	return w.opts.Existing[config.Name]
}

func (w *fleetChecks) podSecurity(c *fleet.Cluster) {
	if c.Entry.SPIFFEAuth == nil || w.opts.PodSecurity == "" || w.opts.PodSecurity == hostPathLevel {
		return
	}
	f := w.at(c, "spec", "spiffeAuth")
	f.Cluster = c.Name
	w.add(f, CodePodSecurity, finding.Warning,
		fmt.Sprintf("the namespace %s enforces Pod Security %q, which refuses the scanner's Pod: spiffeAuth mounts the agent's socket by hostPath", w.fleet.Namespace, w.opts.PodSecurity),
		"enforce privileged in that namespace, or use another authentication method")
}

// viewRole reports the view role once for all clusters with a token: which roles the tokens really have isn't known
// here.
func (w *fleetChecks) viewRole(tokens []*fleet.Cluster) {
	if len(tokens) == 0 {
		return
	}
	f := w.at(tokens[0], "spec", "serviceAccountAuth")
	who, verb := "the cluster "+tokens[0].Name, "authenticates"
	if len(tokens) > 1 {
		who, verb = fmt.Sprintf("%d clusters (%s)", len(tokens), firstNames(tokens)), "authenticate"
	}
	w.add(f, CodeViewRole, finding.Info,
		who+" "+verb+" with a ServiceAccount's token: the role view, which Mondoo's guide binds to it, can't read nodes, Secrets, RBAC objects and most custom resources",
		"bind a ClusterRole with get, list and watch on all resources to the account, unless a partial scan is intended")
}

// auditConfig checks the fields of an audit config in Git that its clusters inherit.
func (w *fleetChecks) auditConfig(config fleet.AuditConfig) {
	if config.Object == nil {
		return
	}
	field := []string{"spec", "kubernetesResources", "schedule"}
	if written := textAt(config.Object, field...); written != "" {
		resolved, err := schedule.Resolve(written, config.Name)
		f := w.place(config.Origin, field)
		f.Code = v1alpha1.CodeSchedule
		switch {
		case err != nil:
			f.Message, f.Fix = "spec.kubernetesResources.schedule is invalid: "+err.Error(), "use five fields, such as \"17 * * * *\""
			w.fleet.Stop(f)
		case resolved != strings.Join(strings.Fields(written), " "):
			f.Message = "spec.kubernetesResources.schedule has an H, which only cluster files may have: the operator uses this field unchanged, and Kubernetes refuses it"
			f.Fix = fmt.Sprintf("use plain cron here, such as %q, and H in the cluster files", resolved)
			w.fleet.Stop(f)
		}
	}
	for _, field := range [][]string{{"spec", "filtering", "namespaces"}, {"spec", "containers", "repositories"}} {
		if !isEmpty(valueAt(config.Object, append(slices.Clone(field), "include")...)) && !isEmpty(valueAt(config.Object, append(slices.Clone(field), "exclude")...)) {
			w.add(w.place(config.Origin, append(slices.Clone(field), "exclude")), v1alpha1.CodeFilterOverlap, finding.Warning,
				strings.Join(field, ".")+".exclude has no effect together with include", "remove one of the two")
		}
	}
}

// allowed stops the fleet if an audit config in Git has something that the AuditSync doesn't allow.
func (w *fleetChecks) allowed(config fleet.AuditConfig) {
	if config.Object == nil {
		return
	}
	for _, f := range Findings(w.opts.Policy.AuditConfig(config.Object), "", func(field []string) finding.Finding { return w.place(config.Origin, field) }) {
		w.fleet.Stop(f)
	}
}

// sameMinute warns about many clusters with schedules that start in the same minute. Schedules spread by H don't count,
// because they are as even as possible; neither do unknown ones.
func (w *fleetChecks) sameMinute(config fleet.AuditConfig, members []*fleet.Cluster) {
	inherited, own := textAt(w.object(config), "spec", "kubernetesResources", "schedule"), map[string]int{}
	var inheriting []*fleet.Cluster
	for _, c := range members {
		switch {
		case c.Entry.Schedule == "":
			inheriting = append(inheriting, c)
			if inherited != "" {
				own[inherited]++
			}
		case c.Schedule != "" && !schedule.Spread(c.Schedule):
			own[c.Entry.Schedule]++
		}
	}
	if inherited == "" && len(inheriting) >= crowd && w.object(config) != nil {
		w.add(w.at(inheriting[0], "spec"), CodeSameMinute, finding.Warning,
			fmt.Sprintf("%d clusters inherit the schedule of the audit config %s, and all start their scans in the same minute: %s", len(inheriting), config.Name, firstNames(inheriting)), fixSameMinute)
		return
	}
	minute, n := schedule.Busiest(own)
	if n < crowd {
		return
	}
	fires := make(map[string]bool, len(own))
	for expr := range own {
		fires[expr] = schedule.FiresAt(expr, minute)
	}
	var together []*fleet.Cluster
	for _, c := range members {
		if c.Entry.Schedule == "" && fires[inherited] || c.Schedule != "" && !schedule.Spread(c.Schedule) && fires[c.Entry.Schedule] {
			together = append(together, c)
		}
	}
	when := fmt.Sprintf("at %02d:%02d", minute.Hour, minute.Minute)
	if minute.Hourly {
		when = fmt.Sprintf("at minute %d of every hour", minute.Minute)
	}
	w.add(w.crowdPlace(config, together, 2*len(inheriting) > n), CodeSameMinute, finding.Warning,
		fmt.Sprintf("%d clusters of the audit config %s start their scans %s: %s", n, config.Name, when, firstNames(together)), fixSameMinute)
}

const fixSameMinute = `use H for the minute in their spec.schedule, as in "H * * * *", which spreads them evenly`

// crowdPlace is the first cluster's schedule, or the audit config's if most inherit it.
func (w *fleetChecks) crowdPlace(config fleet.AuditConfig, together []*fleet.Cluster, inherited bool) finding.Finding {
	if inherited && config.Object != nil {
		return w.place(config.Origin, []string{"spec", "kubernetesResources", "schedule"})
	}
	return w.at(together[0], "spec", "schedule")
}

// registries reports the clusters that can't use the audit config's workload identity for registries. The operator uses
// it only for clusters that themselves authenticate by workload identity, scan images and have no pull secret.
func (w *fleetChecks) registries(config fleet.AuditConfig, members []*fleet.Cluster) {
	if isEmpty(valueAt(w.object(config), "spec", "containers", "workloadIdentity")) {
		return
	}
	for _, c := range members {
		secret := c.Entry.PrivateRegistriesPullSecretRef != nil
		switch {
		case !c.Entry.ContainerImageScanning || secret == (c.Entry.WorkloadIdentity == nil):
			continue
		case secret:
			f := w.at(c, "spec", "privateRegistries")
			if c.File != nil && c.File.Spec.PrivateRegistriesPullSecretRef != nil {
				f = w.at(c, "spec", "privateRegistriesPullSecretRef")
			}
			f.Cluster = c.Name
			w.add(f, CodeRegistryWI, finding.Info,
				fmt.Sprintf("the pull secret is used instead of the workload identity for registries of the audit config %s", config.Name),
				"remove the pull secret to use the identity")
		default:
			f := w.at(c, "spec", "containerImageScanning")
			f.Cluster = c.Name
			w.add(f, CodeRegistryWI, finding.Warning,
				fmt.Sprintf("this cluster can't use the workload identity for registries of the audit config %s, because it does not authenticate by workload identity itself: images in private registries can't be scanned", config.Name),
				"set privateRegistries, or authenticate by workloadIdentity")
		}
	}
}

// firstNames lists the first three clusters.
func firstNames(clusters []*fleet.Cluster) string {
	const most = 3
	var names []string
	for _, c := range clusters[:min(len(clusters), most)] {
		names = append(names, c.Name)
	}
	list := strings.Join(names, ", ")
	if more := len(clusters) - most; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

// valueAt follows mapping keys; nil if the value is missing. A value of the wrong type is reported where it is used.
func valueAt(object map[string]any, field ...string) any {
	value, _, err := unstructured.NestedFieldNoCopy(object, field...)
	if err != nil {
		return nil
	}
	return value
}

func textAt(object map[string]any, field ...string) string {
	if text, isText := valueAt(object, field...).(string); isText {
		return text
	}
	return ""
}

// isEmpty reports whether a value is missing, or an empty list or mapping.
func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}
