package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/sources"
)

// read fills in the result from the source.
func (im *importer) read(ctx context.Context) (err error) {
	if im.source.value == "audit-config" {
		if im.live, err = im.kube.gather(ctx); err != nil {
			return err
		}
	}
	im.findSync()
	switch im.source.value {
	case "audit-config":
		return im.readConfigs(ctx)
	case "argocd":
		err = im.eachSecret(ctx, "argocd", metav1.ListOptions{LabelSelector: "argocd.argoproj.io/secret-type=cluster"}, func(s *corev1.Secret) {
			im.redactor.Add(sources.ArgoSecrets(s.Data)...)
			im.result.ArgoSecret(s.Data)
		})
	case "capi":
		err = im.eachSecret(ctx, "default", metav1.ListOptions{FieldSelector: "type=cluster.x-k8s.io/secret"}, func(s *corev1.Secret) {
			if strings.HasSuffix(s.Name, "-kubeconfig") {
				im.redactor.Add(string(s.Data["value"]))
				im.result.AdminSecret(s.Name, s.Data)
			}
		})
	case "kubeconfig":
		err = im.readKubeconfig()
	}
	if err != nil {
		return err
	}
	im.configs = []string{im.opts.AuditConfig}
	if im.known, err = im.inGit(ctx); err != nil {
		return err
	}
	im.result.Clusters = slices.DeleteFunc(im.result.Clusters, func(d *author.Draft) bool { return im.known.skip(im.opts.AuditConfig, d.Cluster.Metadata.Name) })
	return nil
}

// readConfigs imports live audit configs with the Secrets that their entries name.
func (im *importer) readConfigs(ctx context.Context) (err error) {
	if im.configs, err = im.choose(); err != nil {
		return err
	}
	im.opts.AuditConfig, im.opts.Existing = im.configs[0], im.live.AuditConfigs
	if im.known, err = im.inGit(ctx); err != nil {
		return err
	}
	if im.result.Secrets, err = im.readSecrets(ctx); err != nil {
		return err
	}
	owners := im.owners()
	im.result.Skip = func(config, cluster string) bool {
		if im.known.skip(config, cluster) {
			return true
		}
		owner := owners[[2]string{config, cluster}]
		if owner != "" {
			im.result.Left = append(im.result.Left, author.Left{Name: cluster, Reason: "the " + owner + " manages it", Fix: "restore the file, or move it here with git mv"})
		}
		return owner != ""
	}
	for _, config := range im.configs {
		if err := im.result.AuditConfig(config, im.live.AuditConfigs[config], len(im.configs) > 1); err != nil {
			return fmt.Errorf("read MondooAuditConfig %s: %w", config, err)
		}
	}
	return nil
}

// choose returns the audit configs to import.
func (im *importer) choose() ([]string, error) {
	chosen := im.auditConfigs
	if len(chosen) == 0 {
		chosen = im.used()
	}
	for _, name := range chosen {
		if im.live.AuditConfigs[name] == nil {
			return nil, fmt.Errorf("there is no MondooAuditConfig %s in the namespace %s; it has: %s", name, im.kube.namespace, strings.Join(slices.Sorted(maps.Keys(im.live.AuditConfigs)), ", "))
		}
	}
	switch {
	case len(chosen) == 0:
		return nil, fmt.Errorf("no MondooAuditConfig in the namespace %s has external clusters; choose another --namespace", im.kube.namespace)
	case len(chosen) > 1 && !im.withConfigs:
		return nil, usagef("several audit configs have external clusters (%s), and those of a folder stay live only if it has one; choose one with --audit-config, or use --with-audit-configs", strings.Join(chosen, ", "))
	}
	return chosen, nil
}

// used are the audit configs with external clusters.
func (im *importer) used() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(im.live.AuditConfigs)) {
		if entries, err := mondoo.Entries(im.live.AuditConfigs[name]); err != nil || len(entries) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// owners are the AuditSyncs that have applied clusters, with the files.
func (im *importer) owners() map[[2]string]string {
	owners := map[[2]string]string{}
	for _, inv := range im.live.Inventories {
		for _, item := range inv.Clusters {
			owners[[2]string{inv.AuditConfig, item.Name}] = fmt.Sprintf("AuditSync %s, from %s,", inv.Sync, item.Origin)
		}
	}
	return owners
}

// readSecrets reads the Secrets that the entries name.
func (im *importer) readSecrets(ctx context.Context) (map[string]author.LiveSecret, error) {
	names := map[string]bool{}
	for _, config := range im.configs {
		entries, _ := mondoo.Entries(im.live.AuditConfigs[config]) // an error is reported when they are imported
		for _, raw := range entries {
			entry, err := mondoo.ParseEntry(raw)
			if err != nil || im.known.has(config, entry.Name) {
				continue
			}
			for ref := range compile.References(&entry) {
				names[ref.Name] = true
			}
		}
	}
	found := map[string]author.LiveSecret{}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for name := range names {
		group.Go(func() error {
			secret, err := im.kube.core.Secrets(im.kube.namespace).Get(ctx, name, metav1.GetOptions{})
			switch {
			case apierrors.IsNotFound(err):
				return nil
			case err != nil:
				return im.kube.explain("get Secret "+im.kube.namespace+"/"+name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			found[name] = im.liveSecret(secret)
			return nil
		})
	}
	return found, group.Wait()
}

// liveSecret also tells the redactor what is secret.
func (im *importer) liveSecret(s *corev1.Secret) author.LiveSecret {
	live := author.LiveSecret{Type: string(s.Type), Data: s.Data, Immutable: s.Immutable != nil && *s.Immutable, InGit: im.known.secrets[s.Name], Keep: im.keep(s)}
	for key, value := range s.Data {
		if key != mondoo.KeyCACert && key != mondoo.KeyServer { // public
			im.redactor.Add(string(value))
		}
	}
	return live
}

// keep returns why a Secret can't be managed from Git: something else writes or owns it.
func (im *importer) keep(s *corev1.Secret) string {
	by := s.Labels["app.kubernetes.io/managed-by"]
	switch {
	case mondoo.IsMade(s.Name):
		return "Muster makes Secrets of such names itself"
	case im.live.Reserved[s.Name] != "":
		return im.live.Reserved[s.Name] + " uses it"
	case s.Labels[fleet.LabelSync] != "":
		return "the AuditSync " + s.Labels[fleet.LabelSync] + " manages it"
	case len(s.OwnerReferences) > 0:
		return fmt.Sprintf("the %s %s owns it, and would write it again", s.OwnerReferences[0].Kind, s.OwnerReferences[0].Name)
	case by != "":
		return by + " manages it (label app.kubernetes.io/managed-by)"
	case slices.ContainsFunc(im.configs, func(config string) bool { return mondoo.IsOperatorSecret(config, s.Name) }):
		return "the operator makes it"
	}
	return ""
}

// eachSecret calls visit for the Secrets of the source's namespace.
func (im *importer) eachSecret(ctx context.Context, namespace string, opts metav1.ListOptions, visit func(*corev1.Secret)) error {
	if im.importFlags.namespace != "" {
		namespace = im.importFlags.namespace
	}
	opts.Limit = pageSize
	for n := 0; ; {
		list, err := im.kube.core.Secrets(namespace).List(ctx, opts)
		if err != nil {
			return im.kube.explain("list Secrets in "+namespace, err)
		}
		for i := range list.Items {
			n++
			visit(&list.Items[i])
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			if n == 0 {
				return fmt.Errorf("the namespace %s has no cluster Secrets of %s; choose another --from-namespace", namespace, im.source.value)
			}
			return nil
		}
	}
}

// readKubeconfig imports the contexts of a kubeconfig. Certificates in files are read, as kubectl does.
func (im *importer) readKubeconfig() error {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = im.kubeconfig
	rules.Warner = func(error) {} // as in kubeFlags
	config, err := rules.Load()
	switch {
	case err != nil:
		return fmt.Errorf("read kubeconfig: %w", err)
	case len(config.Contexts) == 0:
		return fmt.Errorf("no kubeconfig with contexts found; use --kubeconfig, or set KUBECONFIG")
	case im.context != "" && config.Contexts[im.context] == nil:
		return fmt.Errorf("the kubeconfig has no context %s; see kubectl config get-contexts", im.context)
	case im.context != "":
		config.Contexts = map[string]*clientcmdapi.Context{im.context: config.Contexts[im.context]}
	}
	for _, user := range config.AuthInfos {
		im.redactor.Add(user.Token, user.Password, string(user.ClientKeyData))
	}
	im.result.Contexts(config, func(name string) ([]byte, error) {
		text, err := readBounded(im.shell, name, "file")
		im.redactor.Add(string(text))
		return text, err
	})
	return nil
}
