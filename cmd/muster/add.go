package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/encrypt"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/unseal"
	"github.com/muster-gitops/muster/config/schema"
)

const addHelp = `Add writes the file of a new cluster, encrypted by the rules of the repository's .sops.yaml. PATH is the folder that the
AuditSync reads. Add changes no other file, and never overwrites one.

How the scanner logs in is read from a context of your kubeconfig (--from-context), or given by the flags of one method. In a
terminal, add asks for what is missing. Secrets come from files, standard input or a question, never from an argument.

From a context, add takes the one cluster and user, and what their files hold. It lists what the scanner can't use. A context
that logs in with the program of a cloud becomes a workload identity of that cloud. With --create-service-account, add makes a
ServiceAccount for the scanner in the cluster, with your rights there, and uses its token. It shows the objects first, and asks.

Add then connects to the cluster with a token or kubeconfig, and reports what fails, as muster preflight does. It checks the
file as the controller would, and refuses one with errors. It prints what the file changes, and what a scan needs elsewhere.

Exit status: 0, 1 when the file would have errors, 2 when the command failed, 130 after Ctrl-C. Nothing is written then.`

const addExample = `  # Ask for everything
  muster add prod-eu-west-1

  # With a token that add makes in the cluster
  muster add prod-eu-west-1 --from-context prod-eu-west-1 --create-service-account

  # With a token that Muster renews
  muster add prod-eu-west-1 --from-context prod-eu-west-1 --create-service-account --renew 24h

  # A token from another program
  vault read -field=token secret/eu | muster add prod-eu-west-1 --server https://eu.example.com --token-file - --ca-file eu.crt

  # EKS, with workload identity
  muster add prod-eks --from-context prod-eks --eks-role-arn arn:aws:iam::111122223333:role/mondoo-scan`

// adder adds one cluster.
type adder struct {
	*folder
	name   string
	fields fieldFlags
	// context and kubeconfig are where the cluster is read from.
	context, kubeconfig string
	images              bool
	target              targetFlags
	try                 tryFlags
}

func newAddCommand(s *shell) *cobra.Command {
	var flags folderFlags
	var out writeFlags
	a := &adder{fields: fieldFlags{}}
	cmd := &cobra.Command{
		Use: "add CLUSTER [PATH]", Short: "Write the file of a new cluster", Long: addHelp, Example: addExample,
		Args: clusterAndFolder, ValidArgsFunction: func(cmd *cobra.Command, args []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return completeFolders(cmd, args[min(len(args), 1):], text)
		},
	}
	cmd.Flags().StringVar(&a.context, "from-context", "", "context of your kubeconfig that leads to the cluster")
	cmd.Flags().StringVar(&a.kubeconfig, "from-kubeconfig", "", "kubeconfig `file` with the context (default: KUBECONFIG, then ~/.kube/config)")
	completeFiles(cmd, "from-kubeconfig")
	completeContexts(cmd, "from-context", &a.kubeconfig)
	a.target.add(cmd)
	a.try.add(cmd, "report", "required", "off")
	a.fields.add(cmd)
	cmd.Flags().BoolVar(&a.images, "images", false, "also scan the images of running containers")
	flags.add(cmd)
	out.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		a.name = args[0]
		if problems := validation.IsDNS1123Label(a.name); len(problems) > 0 {
			return usagef("%q is not a valid cluster name: use lower-case letters, digits and dashes, at most 63 characters", a.name)
		}
		if a.folder, err = flags.openCommitted(s, cmd, args[1:]); err != nil {
			return err
		}
		defer a.close()
		if err := out.addRecipients(a.folder); err != nil {
			return err
		}
		return a.run(cmd.Context(), &out)
	}
	return cmd
}

func (a *adder) run(ctx context.Context, out *writeFlags) error {
	file := path.Join(a.path, a.name+".yaml")
	if _, err := fs.Lstat(a.dir.FS(), file); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists already; choose another name, or change it with muster edit", a.fromWorkingDir(file))
	}
	rule, err := encrypt.RuleFor(a.root, file)
	if err != nil { // before a secret is asked for, or anything is made in the cluster
		return err
	}
	draft, err := a.draft(ctx)
	if err != nil {
		return err
	}
	if bad := a.badCredentials(draft, file); len(bad) > 0 {
		return out.fail(a.folder, bad...)
	}
	for _, note := range draft.Notes {
		fmt.Fprintln(a.stderr, "note: "+printable(a.redactor.String(note)))
	}
	if may, err := a.try.try(ctx, a.shell, draft); err != nil || !may {
		if err == nil {
			fmt.Fprintln(a.stderr, "muster: "+nothingWritten)
			err = statusError(exitFindings)
		}
		return err
	}
	plain, err := draft.YAML(schema.ExternalCluster.Header(version()))
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	content := plain
	if secrets := draft.SecretFields(); len(secrets) > 0 {
		if content, err = rule.Encrypt(plain, secrets, a.ring); err != nil {
			return err
		}
	}
	p, err := a.judge(ctx, author.Change{Path: file, After: content})
	if err != nil {
		return err
	}
	if a.target.create {
		p.setups = nil // add has just done that, with a role that can read everything
		p.New = slices.DeleteFunc(p.New, func(f finding.Finding) bool { return f.Code == compile.CodeViewRole })
	}
	return out.carryOutFully(a.folder, p)
}

// judge proposes the new file. A user whose keys are for other repositories can add a cluster as one without keys can.
func (a *adder) judge(ctx context.Context, change author.Change) (*proposal, error) {
	p, err := a.propose(ctx, []author.Change{change})
	if err != nil || !slices.ContainsFunc(p.errors(), func(f finding.Finding) bool { return f.Code == unseal.CodeWrongKey && f.Path == change.Path }) {
		return p, err
	}
	a.ring = &keys.Ring{}
	return a.propose(ctx, []author.Change{change})
}

// badCredentials are the errors of credentials. Without the key of the file, they would be found only after the merge.
func (a *adder) badCredentials(draft *author.Draft, file string) (bad []finding.Finding) {
	_, problems := draft.Credentials(time.Now())
	for _, p := range problems {
		if p.Severity == finding.Error {
			bad = append(bad, finding.Finding{Code: p.Code, Severity: p.Severity, Cluster: a.name, Path: file, Message: p.Message, Fix: p.Fix})
		}
	}
	return bad
}

// draft composes the file.
func (a *adder) draft(ctx context.Context) (*author.Draft, error) {
	method, err := a.fields.method()
	if err != nil {
		return nil, err
	}
	switch {
	case a.context != "" || a.kubeconfig != "" || a.target.create:
		return a.fromContext(ctx, method)
	case method == nil && !a.interactive():
		return nil, usagef("choose how the scanner logs in: --from-context, or the flags of a method, such as --token-file, --kubeconfig-file or --eks-role-arn")
	case method == nil:
		if method, err = a.chooseMethod(ctx); err != nil {
			return nil, err
		}
	}
	return a.fromFlags(ctx, method)
}

func (a *adder) fromFlags(ctx context.Context, method *clusterMethod) (*author.Draft, error) {
	d, v := author.New(a.name), fieldValues{}
	if flag := a.fields.notOf(method); flag != "" {
		return nil, usagef("--%s does not belong to the method %s", flag, method.name)
	}
	if err := a.fields.take(a.shell, method.fields, v); err != nil {
		return nil, err
	}
	if err := a.askMissing(ctx, method, v); err != nil {
		return nil, err
	}
	if text, ok := v["kubeconfig"].(string); ok {
		config, err := clientcmd.Load([]byte(text))
		if err != nil { // the error may quote a credential
			return nil, errors.New("read --kubeconfig-file: it is not a kubeconfig; kubectl config view --kubeconfig FILE shows what kubectl reads")
		}
		if d, err = a.read(config, "", noFiles); err != nil {
			return nil, err
		}
		delete(v, "kubeconfig")
	}
	return d, a.finish(d, method, v)
}

// finish adds the values and the fields of every method to the draft.
func (a *adder) finish(d *author.Draft, method *clusterMethod, v fieldValues) error {
	if strings.HasPrefix(method.fields[0].path, "workloadIdentity.") {
		v["workloadIdentity.provider"] = method.name
	}
	if err := a.fields.take(a.shell, scanFields, v); err != nil {
		return err
	}
	if a.images {
		v["containerImageScanning"] = true
	}
	if err := v.spec(&d.Cluster.Spec); err != nil {
		return err
	}
	a.redactor.Add(d.SecretValues()...)
	return nil
}

// fromContext reads a context of the user's kubeconfig. method is what the flags select besides, or nil.
func (a *adder) fromContext(ctx context.Context, method *clusterMethod) (*author.Draft, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = a.kubeconfig
	rules.Warner = func(error) {} // a missing file is an error below
	config, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	if a.target.create {
		if method != nil {
			return nil, usagef("--create-service-account and the flags of %s can't be used together", method.name)
		}
		return a.createAccount(ctx, config)
	}
	if a.fields.given("kubeconfig-file") {
		return nil, usagef("--from-context and --kubeconfig-file can't be used together; for a context of that file, use --from-kubeconfig")
	}
	d, err := a.read(config, a.context, func(name string) ([]byte, error) { return readBounded(a.shell, name, "file") })
	if err != nil {
		return nil, err
	}
	v, err := valuesOf(&d.Cluster.Spec)
	if err != nil {
		return nil, err
	}
	found := methodOf(v)
	if method != nil && method != found {
		return nil, usagef("the context uses %s, and the flags are those of %s", found.title, method.title)
	}
	if err := a.fields.take(a.shell, found.fields, v); err != nil {
		return nil, err
	}
	if found.name != "kubeconfig" {
		if err := a.askMissing(ctx, found, v); err != nil {
			return nil, err
		}
	}
	return d, a.finish(d, found, v)
}

// methodOf is the method whose fields are set.
func methodOf(v fieldValues) *clusterMethod {
	at := slices.IndexFunc(clusterMethods, func(m clusterMethod) bool {
		return slices.ContainsFunc(m.fields, func(f clusterField) bool { return v[f.path] != nil })
	})
	if provider, ok := v["workloadIdentity.provider"]; ok {
		at = slices.IndexFunc(clusterMethods, func(m clusterMethod) bool { return m.name == provider })
	}
	return &clusterMethods[at]
}

// read makes a draft of a context.
func (a *adder) read(config *clientcmdapi.Config, context string, readFile func(string) ([]byte, error)) (*author.Draft, error) {
	return author.Kubeconfig{Config: config, Context: context, Server: strings.Join(*a.fields["server"], ""), ReadFile: readFile}.Draft(a.name)
}

// noFiles reads no file: another person may have written the kubeconfig, and would get the content of any file as a credential.
func noFiles(string) ([]byte, error) {
	return nil, errors.New("a kubeconfig from elsewhere must not name files of this machine; if it is your own, use --from-kubeconfig and --from-context")
}
