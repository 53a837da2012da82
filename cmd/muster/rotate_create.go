package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/setup"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// createFlags are those of rotate --token --create.
type createFlags struct {
	create, yes         bool
	context, kubeconfig string
	lifetime            time.Duration
	try                 tryFlags
}

func (c *createFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.create, "create", false, "with --token: make the new token in the cluster, for the ServiceAccount of the old one, with your rights there")
	cmd.Flags().StringVar(&c.context, "from-context", "", "context of your kubeconfig that leads to the cluster (default: the current one)")
	cmd.Flags().StringVar(&c.kubeconfig, "from-kubeconfig", "", "kubeconfig `file` with the context (default: KUBECONFIG, then ~/.kube/config)")
	completeFiles(cmd, "from-kubeconfig")
	completeContexts(cmd, "from-context", &c.kubeconfig)
	cmd.Flags().DurationVar(&c.lifetime, "token-lifetime", 0, "lifetime of the token, such as 720h; the cluster may grant less (default: that of the old token)")
	cmd.Flags().BoolVar(&c.yes, "yes", false, "don't ask before a token is made in the cluster")
	c.try.add(cmd, "required", "report", "off")
	c.try.sameRights = true
}

// check rejects flags that would have no effect.
func (c *createFlags) check(cmd *cobra.Command, r *rotateFlags) error {
	switch {
	case c.create && r.token == "":
		return usagef("--create needs --token")
	case c.create && r.fromFile != "":
		return usagef("--create and --from-file can't be used together")
	case c.lifetime < 0:
		return usagef("--token-lifetime must be positive")
	}
	for _, name := range []string{"from-context", "from-kubeconfig", "token-lifetime", "yes", "preflight", "allow-address"} {
		if !c.create && cmd.Flags().Changed(name) {
			return usagef("--%s needs --create", name)
		}
	}
	return nil
}

// tokenRotation replaces the token of one cluster by one that it makes there.
type tokenRotation struct {
	*folder
	*createFlags
	flags   *writeFlags
	cluster string
	// draft is the cluster file, oldToken the token in it, and old whose that is.
	draft    *author.Draft
	oldToken string
	old      credential.Account
	// target is the cluster, and server its address in the user's kubeconfig.
	target *targetClient
	server string
}

// rotateCreated makes a token, tries it and writes it. If it isn't written, nothing that was made stays.
func (f *folder) rotateCreated(ctx context.Context, w *writeFlags, create *createFlags, cluster string) (err error) {
	r := &tokenRotation{folder: f, createFlags: create, flags: w, cluster: cluster}
	if err := r.readOld(ctx); err != nil {
		return err
	}
	if err := r.connect(ctx); err != nil {
		return err
	}
	r.describe()
	if w.dryRun {
		const nothing = "nothing was made, and nothing was written"
		if w.json() {
			return f.printResult(result{Summary: nothing})
		}
		fmt.Fprintln(f.stderr, "muster: "+nothing)
		return nil
	}
	if err := r.agree(ctx); err != nil {
		return err
	}
	token, made, err := r.make(ctx)
	if err == nil {
		f.redactor.Add(token)
		err = r.swap(ctx, w, token)
	}
	if err != nil && !w.written {
		return errors.Join(err, r.undo(ctx, token, made))
	}
	r.tellOld(ctx)
	return err
}

// readOld reads whose token is in the cluster file.
func (r *tokenRotation) readOld(ctx context.Context) error {
	c, err := r.locateCluster(ctx, r.cluster)
	if err != nil {
		return r.withFindings(err)
	}
	if failure := c.open(ctx, r.folder); failure != nil {
		return r.flags.fail(r.folder, *failure)
	}
	file := r.fromWorkingDir(c.Path)
	for document, err := range documents(c.plain(), v1alpha1.Kind) {
		var object map[string]any
		if err != nil || yaml.Unmarshal(document, &object) != nil {
			return fmt.Errorf("read %s: it is not YAML; see muster lint", file) // the error may quote a value
		}
		if decoded, _ := v1alpha1.Decode(object, nil); decoded.Metadata.Name == c.Documents[c.document].Name {
			r.draft = &author.Draft{Cluster: *decoded}
		}
	}
	if r.draft == nil || r.draft.Cluster.Spec.ServiceAccountAuth == nil || r.draft.Cluster.Spec.ServiceAccountAuth.Token == "" {
		return fmt.Errorf("%s has no serviceAccountAuth.token to replace", file)
	}
	r.oldToken = r.draft.Cluster.Spec.ServiceAccountAuth.Token
	old, ok := credential.AccountOf(r.oldToken)
	if !ok {
		return fmt.Errorf("the token in %s does not say which ServiceAccount it is for; make the new one yourself, and use --from-file", file)
	}
	r.old = old
	if r.lifetime == 0 && !old.Expires.IsZero() {
		if r.lifetime = old.Lifetime; r.lifetime <= 0 {
			return usagef("the old token does not say for how long it was granted; use --token-lifetime")
		}
	}
	return nil
}

// connect finds the ServiceAccount in the cluster of the context. Its UID shows that it is the account of the token, and not that
// of another cluster.
func (r *tokenRotation) connect(ctx context.Context) error {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = r.kubeconfig
	rules.Warner = func(error) {} // a missing file is an error below
	config, err := rules.Load()
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	if err := r.choose(config); err != nil {
		return err
	}
	if r.target, err = r.connectTarget(config, r.context); err != nil {
		return err
	}
	account, err := r.target.core.ServiceAccounts(r.old.Namespace).Get(ctx, r.old.Name, metav1.GetOptions{})
	wrong := "check --from-context; if the account was made anew, make a token yourself, and use --from-file"
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("the cluster of context %q has no ServiceAccount %s; %s", r.context, r.account(), wrong)
	case err != nil:
		return fmt.Errorf("context %q: get ServiceAccount %s: %w; check your rights there: kubectl auth can-i get serviceaccounts -n %s", r.context, r.account(), err, r.old.Namespace)
	case string(account.UID) != r.old.UID:
		return fmt.Errorf("the ServiceAccount %s in the cluster of context %q is another one than that of the token (its UID differs); %s", r.account(), r.context, wrong)
	}
	return nil
}

// choose sets the context, and the server that it leads to.
func (r *tokenRotation) choose(config *clientcmdapi.Config) error {
	if r.context == "" {
		r.context = config.CurrentContext
	}
	context := config.Contexts[r.context]
	if context == nil || config.Clusters[context.Cluster] == nil {
		return usagef("the kubeconfig has no context %q with a cluster; use --from-context, and see kubectl config get-contexts", r.context)
	}
	r.server = config.Clusters[context.Cluster].Server
	return nil
}

func (r *tokenRotation) account() string { return r.old.Namespace + "/" + r.old.Name }

// sends is the address that gets the token.
func (r *tokenRotation) sends() string { return r.draft.Cluster.Spec.ServiceAccountAuth.Server }

// describe shows what is made, and where it goes.
func (r *tokenRotation) describe() {
	lasts, what := "a token that doesn't expire, in a new Secret "+r.account()+"-…", ""
	if r.lifetime > 0 {
		lasts = fmt.Sprintf("a token that expires after %s", r.lifetime)
	}
	if r.elsewhere() {
		what = "\nThe cluster file sends it to another address: " + r.sends()
	}
	text := fmt.Sprintf("This is made in the cluster at %s:\n    %s, for the ServiceAccount %s%s", r.server, lasts, r.account(), what)
	for line := range strings.Lines(text) {
		fmt.Fprintln(r.stderr, printable(r.redactor.String(strings.TrimSuffix(line, "\n"))))
	}
}

// elsewhere reports whether the file has another address than the context. Whoever wrote the file would get the token.
func (r *tokenRotation) elsewhere() bool {
	return strings.TrimRight(r.sends(), "/") != strings.TrimRight(r.server, "/")
}

// agree asks.
func (r *tokenRotation) agree(ctx context.Context) error {
	switch {
	case r.yes && r.elsewhere():
		return usagef("--yes is not enough when the file sends the token to another address than that of the context; run the command in a terminal, and compare them")
	case r.yes:
		return nil
	case !r.interactive():
		return usagef("--create needs --yes where there is no terminal to ask in")
	}
	yes, err := r.confirm(ctx, "Make it?", false)
	if err == nil && !yes {
		err = errNotConfirmed
	}
	return err
}

// make makes the token. made is the Secret that has it, if there is one.
func (r *tokenRotation) make(ctx context.Context) (token, made string, err error) {
	if r.lifetime > 0 {
		token, err = r.target.request(ctx, r.old.Namespace, r.old.Name, r.lifetime)
		if err != nil {
			return "", "", fmt.Errorf("context %q: %w; check your rights there: kubectl auth can-i create serviceaccounts/token -n %s", r.context, err, r.old.Namespace)
		}
		return token, "", nil
	}
	secret := &corev1.Secret{Type: corev1.SecretTypeServiceAccountToken, ObjectMeta: metav1.ObjectMeta{Namespace: r.old.Namespace, GenerateName: r.old.Name + "-",
		Annotations: map[string]string{corev1.ServiceAccountNameKey: r.old.Name}}}
	// Ctrl-C doesn't end the request: only its answer has the name to delete.
	secret, err = r.target.core.Secrets(r.old.Namespace).Create(context.WithoutCancel(ctx), secret, metav1.CreateOptions{FieldManager: "muster"})
	if err != nil {
		return "", "", fmt.Errorf("context %q: make a Secret for the token: %w; check your rights there: kubectl auth can-i create secrets -n %s", r.context, err, r.old.Namespace)
	}
	token, _, err = r.target.await(ctx, secret.Namespace, secret.Name)
	return token, secret.Name, err
}

// swap tries the token and writes it into the file.
func (r *tokenRotation) swap(ctx context.Context, w *writeFlags, token string) error {
	r.draft.Cluster.Spec.ServiceAccountAuth.Token = token
	if may, err := r.try.try(ctx, r.shell, r.draft); err != nil || !may {
		if err == nil {
			fmt.Fprintln(r.stderr, "muster: nothing was written; --preflight report writes nevertheless")
			err = statusError(exitFindings)
		}
		return err
	}
	change, err := valueOf(r.shell, []string{"spec", "serviceAccountAuth", "token"}, token)
	if err != nil {
		return err
	}
	return r.set(ctx, r.cluster, w, []author.FieldChange{change})
}

// undo deletes the Secret that was made, also after Ctrl-C.
func (r *tokenRotation) undo(ctx context.Context, token, made string) error {
	if made == "" {
		if token != "" {
			r.tell("The new token is in no file. It can't be revoked, and ends by itself after " + r.lifetime.String() + " at most.")
		}
		return nil
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer stop()
	if err := r.target.core.Secrets(r.old.Namespace).Delete(ctx, made, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete the Secret %s/%s, which was made for nothing: %w; run: %s", r.old.Namespace, made, err, r.deleteCommand(made))
	}
	fmt.Fprintf(r.stderr, "muster: the Secret %s/%s, which was made for the token, is deleted again\n", r.old.Namespace, made)
	return nil
}

func (r *tokenRotation) deleteCommand(secret string) string {
	command := "kubectl "
	if r.kubeconfig != "" {
		command += "--kubeconfig " + setup.Quote(r.kubeconfig) + " "
	}
	return command + "--context " + setup.Quote(r.context) + " -n " + r.old.Namespace + " delete secret " + secret
}

// tellOld tells how the old token ends. A Secret is only named if it has that token: what a token says about itself isn't
// verified.
func (r *tokenRotation) tellOld(ctx context.Context) {
	switch {
	case !r.old.Expires.IsZero() && r.old.Expires.Before(time.Now()):
		r.tell("The old token has expired.")
	case !r.old.Expires.IsZero():
		r.tell("The old token ends by itself on " + r.old.Expires.UTC().Format("2006-01-02 15:04 MST") + ".")
	default:
		r.tellOldSecret(ctx)
	}
}

func (r *tokenRotation) tellOldSecret(ctx context.Context) {
	secret, err := r.target.core.Secrets(r.old.Namespace).Get(ctx, r.old.Secret, metav1.GetOptions{})
	switch {
	case r.old.Secret != "" && apierrors.IsNotFound(err):
		r.tell("The old token's Secret " + r.old.Namespace + "/" + r.old.Secret + " is gone, so the token is already revoked.")
	case err != nil || string(secret.Data[corev1.ServiceAccountTokenKey]) != r.oldToken:
		r.tell("The old token does not expire. Look for its Secret, and delete it once this is merged and synced: kubectl --context " + setup.Quote(r.context) + " -n " + r.old.Namespace +
			" get secrets --field-selector type=" + string(corev1.SecretTypeServiceAccountToken))
	default:
		r.tell("The old token does not expire. Once this is merged and synced, revoke it by deleting its Secret:")
		fmt.Fprintln(r.stderr, "    "+printable(r.redactor.String(r.deleteCommand(r.old.Secret))))
	}
}
