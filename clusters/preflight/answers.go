package preflight

import (
	"context"
	"net/http"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/credential"
)

// handshake reports a handshake that failed. A certificate for another host is otherwise a good one.
func (r *report) handshake(t Target, f *failure) {
	if f.cause != HostNameMismatch {
		r.fail(TLS, f)
		return
	}
	f.detail = r.show.text(f.detail)
	r.verified(t)
	r.fail(HostName, f)
}

func (r *report) verified(t Target) {
	if t.SkipTLSVerify {
		const note = "the file turns the check of the certificate off"
		r.skip(TLS, note)
		r.skip(HostName, note)
		return
	}
	r.pass(TLS, "")
	r.pass(HostName, "")
}

// version makes the first request. It returns whether there is a point in another.
func (r *report) version(ctx context.Context, c *client) bool {
	a, failed := c.get(ctx, "/version")
	if failed != nil {
		r.fail(HTTP, failed)
		return false
	}
	r.pass(HTTP, "")
	var version struct{ GitVersion string }
	switch {
	case a.status == http.StatusOK && a.into(&version) && version.GitVersion != "":
		r.result.Version = r.show.text(version.GitVersion)
		r.pass(Version, r.result.Version)
	case (a.status == http.StatusUnauthorized || a.status == http.StatusForbidden) && a.isJSON():
		r.skip(Version, "the server tells it only to users that it knows")
	default:
		r.fail(Version, &failure{cause: NotKubernetes, detail: a.kind()})
		return false
	}
	return true
}

// login asks who the server takes the credential for.
func (r *report) login(ctx context.Context, c *client, now time.Time) bool {
	a, failed := c.post(ctx, "/apis/authentication.k8s.io/v1/selfsubjectreviews", &authenticationv1.SelfSubjectReview{})
	if failed != nil {
		r.fail(Login, failed)
		return false
	}
	var review authenticationv1.SelfSubjectReview
	switch {
	case a.status == http.StatusUnauthorized:
		r.fail(Login, c.rejected(now))
		return false
	case a.status == http.StatusForbidden && a.isAnonymous():
		r.fail(Login, &failure{cause: Anonymous})
		return false
	case a.status != http.StatusCreated || !a.into(&review) || review.Status.UserInfo.Username == "":
		// Before Kubernetes 1.28 there is no such review, and RBAC may forbid it. The rights tell more.
		r.skip(Login, "the server does not tell who the credential belongs to")
		return true
	case review.Status.UserInfo.Username == anonymous:
		r.fail(Login, &failure{cause: Anonymous})
		return false
	}
	r.result.User = r.show.text(review.Status.UserInfo.Username)
	r.known.user = r.result.User
	r.pass(Login, r.result.User)
	return true
}

const anonymous = "system:anonymous"

// isAnonymous reports whether a refusal names the anonymous user.
func (a *answer) isAnonymous() bool {
	var status metav1.Status
	return a.into(&status) && strings.Contains(status.Message, `"`+anonymous+`"`)
}

// rejected tells why the server doesn't know the credential, as far as the credential itself shows that.
func (c *client) rejected(now time.Time) *failure {
	if cert := c.where.certificate; cert != nil && now.After(cert.NotAfter) {
		return &failure{cause: ClientCertificateExpired, detail: cert.NotAfter.UTC().Format(time.DateOnly)}
	}
	token, bearer := strings.CutPrefix(c.header.Get("Authorization"), "Bearer ")
	if facts, _ := credential.Token([]byte(token), now); bearer && !facts.Expires.IsZero() && !now.Before(facts.Expires) {
		return &failure{cause: TokenExpired, detail: facts.Expires.UTC().Format(time.DateTime) + " UTC"}
	}
	return &failure{cause: CredentialRejected}
}

// identity reads the UID of kube-system, and compares it.
func (r *report) identity(ctx context.Context, c *client, before string) {
	a, failed := c.get(ctx, "/api/v1/namespaces/kube-system")
	if failed != nil {
		r.fail(Identity, failed)
		return
	}
	var namespace metav1.PartialObjectMetadata
	if a.status == http.StatusOK && a.into(&namespace) && namespace.UID != "" {
		r.result.UID = r.show.text(string(namespace.UID))
	}
	switch {
	case r.result.UID == "" && before == "" && r.result.Failure() != nil:
		// Without the right to read namespaces. That is said already.
	case r.result.UID == "":
		r.fail(Identity, &failure{cause: IdentityUnreadable})
	case before != "" && before != r.result.UID:
		r.fail(Identity, &failure{cause: OtherCluster, detail: r.result.UID + ", and had " + r.show.text(before)})
	default:
		r.pass(Identity, r.result.UID)
	}
}
