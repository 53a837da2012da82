package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/preflight"
)

// tryFlags decide whether a command tries a credential before it writes it.
type tryFlags struct {
	mode    *choice
	allowed []string
	// sameRights is true for a credential that has the rights of the one that it replaces. That they are too few is only reported.
	sameRights bool
}

// add adds the flags. The first mode is the default.
func (t *tryFlags) add(cmd *cobra.Command, modes ...string) {
	t.mode = addChoice(cmd, "preflight", "", "connect to the cluster with the credential first: report what fails (report), refuse to write then (required), or don't connect (off)", modes...)
	cmd.Flags().StringArrayVar(&t.allowed, "allow-address", nil, "`address` or network that --preflight may contact although it is loopback, link-local, multicast or cloud metadata; can be repeated")
}

// try connects to the cluster with the credential of the draft, and tells what fails. It reports whether the file may be written.
func (t *tryFlags) try(ctx context.Context, s *shell, d *author.Draft) (bool, error) {
	target, ok := targetOf(d)
	if t.mode.value == "off" || !ok {
		return true, nil
	}
	opts, err := preflightOptions(s, t.allowed, nil, defaultPreflight)
	if err != nil {
		return false, err
	}
	result := preflight.Run(ctx, target, opts)
	if err := ctx.Err(); err != nil {
		return false, err
	}
	failed := result.Failure()
	switch {
	case result.NotChecked != "":
		fmt.Fprintln(s.stderr, "note: preflight: "+printable(s.redactor.String(result.NotChecked)))
	case failed == nil:
		fmt.Fprintf(s.stderr, "preflight: the credential works: %s, Kubernetes %s\n", printable(s.redactor.String(result.User)), printable(result.Version))
	default:
		fmt.Fprintf(s.stderr, "%s: preflight: %s: %s; %s [%s]\n", s.painter(s.stderr)(yellow, "warning"), failed.Name, printable(s.redactor.String(failed.Message)),
			printable(s.redactor.String(failed.Fix)), failed.Cause)
	}
	return failed == nil || t.mode.value != "required" || t.sameRights && failed.Name == preflight.Rights, nil
}

// targetOf is the target of a draft with a credential.
func targetOf(d *author.Draft) (preflight.Target, bool) {
	spec := d.Cluster.Spec
	switch auth := spec.ServiceAccountAuth; {
	case spec.Kubeconfig != "":
		return preflight.FromKubeconfig(d.Cluster.Metadata.Name, []byte(spec.Kubeconfig), time.Now()), true
	case auth != nil && auth.Token != "":
		return preflight.Target{Cluster: d.Cluster.Metadata.Name, Server: auth.Server, CA: []byte(auth.CACert), Token: auth.Token, SkipTLSVerify: auth.SkipsTLS()}, true
	default:
		return preflight.Target{}, false
	}
}
