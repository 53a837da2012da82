package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/setup"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// targetFlags are those for what add makes in the cluster to scan.
type targetFlags struct {
	create, yes bool
	lifetime    time.Duration
}

func (t *targetFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&t.create, "create-service-account", false, "make a ServiceAccount for the scanner in the cluster of --from-context, with your rights there, and use its token")
	cmd.Flags().DurationVar(&t.lifetime, "token-lifetime", 0, "lifetime of that token, such as 720h; the cluster may grant less (default: it doesn't expire)")
	cmd.Flags().BoolVar(&t.yes, "yes", false, "don't ask before something is made in the cluster")
}

// targetClient makes objects in the cluster to scan.
type targetClient struct {
	core    corev1client.CoreV1Interface
	dynamic dynamic.Interface
}

// createAccount makes a ServiceAccount with the rights of a scanner in the cluster of the context, and a draft with its token.
func (a *adder) createAccount(ctx context.Context, config *clientcmdapi.Config) (*author.Draft, error) {
	from := author.Kubeconfig{Config: config, Context: a.context, Server: single{values: a.fields["server"]}.String(),
		ReadFile: func(name string) ([]byte, error) { return readBounded(a.shell, name, "file") }}
	server, ca, err := from.Target()
	if err != nil {
		return nil, err
	}
	if given := *a.fields["ca-file"]; len(given) > 0 {
		if ca, err = readBounded(a.shell, given[0], "--ca-file"); err != nil {
			return nil, err
		}
	}
	needs, renewed := setup.For(mondoo.Entry{Name: a.name, ServiceAccountAuth: &mondoo.ServiceAccountAuth{}}, "", a.opts.Namespace), a.fields.given("renew")
	if renewed {
		needs = needs.Renewing()
	}
	objects, err := scannerObjects(needs, a.target.lifetime == 0)
	if err != nil {
		return nil, err
	}
	client, err := a.connectTarget(config, a.context)
	if err != nil {
		return nil, err
	}
	if err := a.agree(ctx, objects, server); err != nil {
		return nil, err
	}
	token, ownCA, err := client.make(ctx, objects, a.target.lifetime)
	if err != nil {
		return nil, fmt.Errorf("context %q: %w", from.Context, err)
	}
	if len(ca) == 0 {
		ca = ownCA
	}
	d := author.New(a.name)
	d.Cluster.Spec.ServiceAccountAuth = &v1alpha1.ServiceAccountAuth{Server: server, Token: token, CACert: string(ca)}
	if a.target.lifetime == 0 {
		note := "the token doesn't expire; to revoke it, delete the Secret " + tokenNamespace + "/" + tokenSecret + " in the cluster"
		if renewed {
			note += ", which you can do as soon as Muster has renewed it"
		}
		d.Notes = append(d.Notes, note)
	}
	return d, a.finish(d, &clusterMethods[0], fieldValues{})
}

func (s *shell) connectTarget(kubeconfig *clientcmdapi.Config, context string) (*targetClient, error) {
	config, err := clientcmd.NewNonInteractiveClientConfig(*kubeconfig, context, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	s.redactor.Add(config.BearerToken, config.Password)
	config.Timeout, config.UserAgent, config.WarningHandler = requestTimeout, "muster/"+shortVersion(), rest.NoWarnings{}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return bounded{next} })
	defer lendStderr(s)()
	c := &targetClient{}
	if c.core, err = corev1client.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	if c.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return c, nil
}

// maxTargetAnswer limits an answer of the cluster to scan. The largest one has a token and certificates.
const maxTargetAnswer = 1 << 20

// bounded fails requests whose answer is too large. client-go reads all of an answer into memory.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(req)
	if err == nil {
		response.Body = &boundedBody{response.Body, maxTargetAnswer}
	}
	return response, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("the answer is larger than %d MiB", maxTargetAnswer>>20)
	}
	return n, err
}

// errNotConfirmed ends the command.
var errNotConfirmed = errors.New("nothing was made, and nothing was written")

// agree shows the objects, and asks.
func (a *adder) agree(ctx context.Context, objects []*unstructured.Unstructured, server string) error {
	fmt.Fprintf(a.stderr, "These objects are made in the cluster at %s:\n", printable(server))
	for _, o := range objects {
		name := o.GetName()
		if o.GetNamespace() != "" {
			name = o.GetNamespace() + "/" + name
		}
		what := ""
		switch o.GetKind() {
		case "ClusterRole":
			what = " (get, list and watch everything, Secrets too)"
		case "Role":
			what = " (create tokens of the ServiceAccount " + tokenSecret + ")"
		}
		fmt.Fprintf(a.stderr, "    %s %s%s\n", o.GetKind(), printable(name), what)
	}
	switch {
	case a.target.yes:
		return nil
	case !a.interactive():
		return usagef("--create-service-account needs --yes where there is no terminal to ask in")
	}
	yes, err := a.shell.confirm(ctx, "Make them?", false)
	if err == nil && !yes {
		err = errNotConfirmed
	}
	return err
}

const (
	// tokenNamespace and tokenSecret are the Secret into which Kubernetes puts the token. setup chooses the namespace and the
	// ServiceAccount.
	tokenNamespace = "mondoo-scan"
	tokenSecret    = "mondoo-scanner"
)

// scannerObjects are what the cluster needs: the objects of the setup, and a Secret for a token.
func scannerObjects(s setup.Setup, secret bool) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(s.RBAC()), 4096)
	for {
		o := &unstructured.Unstructured{}
		if err := decoder.Decode(o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	if secret {
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "type": string(corev1.SecretTypeServiceAccountToken)}}
		o.SetNamespace(tokenNamespace)
		o.SetName(tokenSecret)
		o.SetAnnotations(map[string]string{corev1.ServiceAccountNameKey: tokenSecret})
		objects = append(objects, o)
	}
	return objects, nil
}

// targetResources are the kinds of scannerObjects.
var targetResources = map[string]schema.GroupVersionResource{
	"Namespace":          {Version: "v1", Resource: "namespaces"},
	"ServiceAccount":     {Version: "v1", Resource: "serviceaccounts"},
	"Secret":             {Version: "v1", Resource: "secrets"},
	"Role":               {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	"RoleBinding":        {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	"ClusterRole":        {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
	"ClusterRoleBinding": {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
}

// make applies the objects, and returns a token and the CA of the cluster. Objects that exist already are left as they are where
// another program manages them.
func (c *targetClient) make(ctx context.Context, objects []*unstructured.Unstructured, lifetime time.Duration) (token string, ca []byte, err error) {
	for _, o := range objects {
		resource := c.dynamic.Resource(targetResources[o.GetKind()]).Namespace(o.GetNamespace())
		_, err := resource.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: "muster"})
		if err != nil {
			fix := "check your rights there: kubectl auth can-i '*' '*' --all-namespaces"
			if apierrors.IsConflict(err) {
				fix = "another program manages it; make the ServiceAccount by hand, and use --token-file"
			}
			return "", nil, fmt.Errorf("make %s %s: %w; %s", o.GetKind(), o.GetName(), err, fix)
		}
	}
	if lifetime == 0 {
		return c.await(ctx, tokenNamespace, tokenSecret)
	}
	if token, err = c.request(ctx, tokenNamespace, tokenSecret, lifetime); err != nil {
		return "", nil, err
	}
	roots, err := c.core.ConfigMaps(tokenNamespace).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
	if err != nil {
		return token, nil, nil //nolint:nilerr // only needed if the context has no CA
	}
	return token, []byte(roots.Data[corev1.ServiceAccountRootCAKey]), nil
}

// await waits until the cluster has put a token into a Secret.
func (c *targetClient) await(ctx context.Context, namespace, name string) (token string, ca []byte, err error) {
	const patience = 30 * time.Second
	err = wait.PollUntilContextTimeout(ctx, 250*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		secret, err := c.core.Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		token, ca = string(secret.Data[corev1.ServiceAccountTokenKey]), secret.Data[corev1.ServiceAccountRootCAKey]
		return token != "", nil
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		err = fmt.Errorf("the cluster put no token into it within %s; use --token-lifetime, or make a token by hand", patience)
	}
	if err != nil {
		return "", nil, fmt.Errorf("read the token from Secret %s/%s: %w", namespace, name, err)
	}
	return token, ca, nil
}

// request asks for a token that expires.
func (c *targetClient) request(ctx context.Context, namespace, account string, lifetime time.Duration) (string, error) {
	seconds := int64(lifetime.Seconds())
	answer, err := c.core.ServiceAccounts(namespace).CreateToken(ctx, account,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("request a token: %w", err)
	}
	return answer.Status.Token, nil
}
