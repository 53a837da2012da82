package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/unseal"
)

// codeNotOpened is the code of the finding about encrypted files that were not decrypted.
const codeNotOpened finding.Code = "not-opened"

// fleetFlags tell whom a fleet is rendered for. For the controller, the AuditSync does.
type fleetFlags struct {
	namespace, auditConfig, sync, policy string
}

func (f *fleetFlags) add(cmd *cobra.Command) {
	addNamespace(cmd, &f.namespace)
	cmd.Flags().StringVar(&f.auditConfig, "audit-config", defaultAuditConfig, "audit config for clusters that don't name one, if none is in Git")
	f.addPolicy(cmd)
}

func (f *fleetFlags) addSync(cmd *cobra.Command, help string) {
	cmd.Flags().StringVar(&f.sync, "sync", "", help)
}

// defaultNamespace and defaultAuditConfig are the names that the Mondoo Operator's guide uses.
const (
	defaultNamespace   = "mondoo-operator"
	defaultAuditConfig = "mondoo-client"
)

func addNamespace(cmd *cobra.Command, namespace *string) {
	cmd.Flags().StringVarP(namespace, "namespace", "n", defaultNamespace, "namespace of the audit configs")
}

func checkNamespace(namespace string) error {
	if problems := validation.IsDNS1123Label(namespace); len(problems) > 0 {
		return usagef("--namespace %q is not a valid namespace name", namespace)
	}
	return nil
}

// options checks the flags.
func (f *fleetFlags) options() (compile.Options, error) {
	if err := checkNamespace(f.namespace); err != nil {
		return compile.Options{}, err
	}
	if problems := validation.IsDNS1123Subdomain(f.auditConfig); len(problems) > 0 {
		return compile.Options{}, usagef("--audit-config %q is not a valid MondooAuditConfig name", f.auditConfig)
	}
	if problems := validation.IsDNS1123Label(f.sync); f.sync != "" && len(problems) > 0 {
		return compile.Options{}, usagef("--sync %q is not a valid AuditSync name", f.sync)
	}
	return compile.Options{Namespace: f.namespace, AuditConfig: f.auditConfig, Sync: f.sync, Offline: true}, nil
}

// rendered is a fleet with its secrets, or with masks in their place if there was no key.
type rendered struct {
	sealed *fleet.Sealed
	opened *fleet.Opened
	// revision is the commit of the fleet; see repository.revision.
	revision string
	// reserved are the Secrets that AuditSyncs use themselves, as far as known.
	reserved map[string]string
	// closed are the encrypted files that were not decrypted, because there was no key.
	closed []string
}

// openerFor returns nil for an empty ring, so that no file is decrypted.
func openerFor(ring *keys.Ring) clusters.Opener {
	if ring.Empty() {
		return nil
	}
	return unseal.NewOpener(ring)
}

// openerOrNone never returns nil. With an empty ring, the opener reports for each encrypted file which key it needs.
func openerOrNone(ring *keys.Ring) clusters.Opener {
	if ring.Empty() {
		return unseal.NewOpener()
	}
	return unseal.NewOpener(ring)
}

// render runs the pipeline as the controller does. Without an opener, nothing is decrypted.
func (s *shell) render(ctx context.Context, t *target, opts compile.Options, opener clusters.Opener) (*rendered, error) {
	pipeline := clusters.NewPipeline()
	sealed, err := pipeline.Compile(ctx, clusters.Source{FS: t.fs, Path: t.path}, opts, opener)
	if err != nil {
		return nil, err
	}
	r := &rendered{sealed: sealed, revision: t.revision(sealed.Source.Loaded), reserved: opts.Policy.Reserved}
	if opener == nil {
		r.opened, r.closed = sealed.Unopened(func(fleet.Text) string { return redact.Mask }), encryptedFiles(sealed)
	} else if r.opened, err = pipeline.Open(ctx, sealed, opener, s.redactor, time.Now()); err != nil {
		return nil, err
	}
	t.noteNoRepository(&r.opened.Report)
	return r, nil
}

// noteClosed adds a finding about files that were not decrypted, if there are any.
func (s *shell) noteClosed(findings []finding.Finding, path string, files []string, severity finding.Severity) []finding.Finding {
	if len(files) == 0 {
		return findings
	}
	verb, names := "were", make([]string, len(files))
	if len(files) == 1 {
		verb = "was"
	}
	for i, name := range files {
		names[i] = strings.TrimPrefix(name, path+"/")
	}
	return append(findings, finding.Finding{Code: codeNotOpened, Severity: severity, Path: path,
		Message: fmt.Sprintf("%s %s not decrypted, so the content is not checked: %s", plural(len(files), "encrypted file"), verb, firstFew(names)),
		Fix:     keyHint(s.env)})
}

// fresh plans a fleet for an empty management cluster. The plan has what the controller applies, before it is compared with
// live objects.
func (r *rendered) fresh() *plan.Plan {
	return plan.Compute(r.opened, plan.Fresh(r.opened, r.reserved), plan.Policy{Revision: r.revision, Foreign: plan.KeepForeign, CorrectDrift: true})
}

// encryptedFiles are the files of the tree that are partly or completely encrypted.
func encryptedFiles(sealed *fleet.Sealed) []string {
	var files []string
	for _, name := range sealed.Source.Loaded.Paths() {
		if seal.IsEncrypted(sealed.Source.Loaded.Files[name].Data) {
			files = append(files, name)
		}
	}
	return files
}

// firstFew lists the first few names.
func firstFew(names []string) string {
	const most = 3
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
