package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/finding"
)

const renderHelp = `Render prints the objects that the controller would apply for a folder: the Secrets, then the MondooAuditConfigs. An
audit config in Git is printed whole; for any other one, only the list of clusters, which is all that Muster owns.

The origin of an object is noted as path@commit when the rendered files match the checked-out commit, and as path alone
when there are changes.

What clusters inherit from an audit config that isn't in Git, such as a schedule, is unknown here. It is left out, with a
finding. With --live it is read from the management cluster.

Values of Secrets are masked unless you use --show-secrets. Without a key, encrypted files are not decrypted: the objects
are the same, but the content of the files is not checked. The name of a Secret that holds the credentials of a cluster file
ends in a hash of the cluster's server, CA and TLS mode; where those are encrypted too, 16 zeros replace it.`

const renderExample = `  # What would be applied for this folder?
  muster render clusters/production

  # What does this branch change? (../main is a work tree of the main branch)
  diff <(muster render ../main/clusters/production) <(muster render clusters/production)

  # Apply by hand what the controller would apply
  muster render clusters/production --sync production --show-secrets | kubectl apply --server-side -f -`

func newRenderCommand(s *shell) *cobra.Command {
	var flags folderFlags
	var where liveFlags
	var show bool
	cmd := &cobra.Command{
		Use: "render [PATH]", Short: "Print the objects that would be applied", Long: renderHelp, Example: renderExample,
		Args: atMost(1), ValidArgsFunction: completeFolders,
	}
	output := addChoice(cmd, "output", "o", "output format", "yaml", "json")
	flags.add(cmd)
	flags.addSync(cmd, "name of the AuditSync, for the label of the objects")
	flags.addNone(cmd)
	where.add(cmd)
	cmd.Flags().BoolVar(&show, "show-secrets", false, "print the values of Secrets; needs a key")
	exclude(cmd, "show-secrets", "no-keys")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := flags.open(s, cmd, args)
		if err != nil {
			return err
		}
		defer f.close()
		if f.cluster, err = where.connect(s, f.opts.Namespace); err != nil {
			return err
		}
		_, opts, err := f.gatherIfLive(cmd.Context())
		if err != nil {
			return err
		}
		opener := openerFor(f.ring)
		if show {
			opener = openerOrNone(f.ring)
		}
		r, err := s.render(cmd.Context(), f.target, opts, opener)
		if err != nil {
			return err
		}
		p := r.fresh()
		if err := printObjects(s.stdout, output.value, objects(p, s.valuesFor(show))); err != nil {
			return fmt.Errorf("print objects: %w", err)
		}
		return s.conclude(f.repository, s.noteClosed(p.Findings, f.path, r.closed, finding.Warning))
	}
	return cmd
}

// conclude prints the findings of a command whose output is something else, and returns its exit status.
func (s *shell) conclude(repo *repository, findings []finding.Finding) error {
	if err := s.printFindings(s.stderr, repo, findings); err != nil {
		return fmt.Errorf("print findings: %w", err)
	}
	if finding.Errors(findings) > 0 {
		return statusError(exitFindings)
	}
	return nil
}

// printObjects writes objects as YAML documents, or as a List in JSON. kubectl accepts both.
func printObjects(w io.Writer, format string, list []map[string]any) error {
	if format == "json" {
		if list == nil {
			list = []map[string]any{}
		}
		return writeJSON(w, map[string]any{"apiVersion": "v1", "kind": "List", "items": list})
	}
	var out bytes.Buffer
	for _, object := range list {
		data, err := yaml.Marshal(object)
		if err != nil {
			return err
		}
		out.WriteString("---\n")
		out.Write(data)
	}
	_, err := w.Write(out.Bytes())
	return err
}

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}
