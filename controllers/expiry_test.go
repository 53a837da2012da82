package controllers_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// expiringToken is a token for 90 days of which some are left.
func expiringToken(left time.Duration) string {
	end := time.Now().Add(left)
	claims := fmt.Sprintf(`{"iat":%d,"exp":%d,"sub":"CANARY"}`, end.AddDate(0, 0, -90).Unix(), end.Unix())
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".CANARY"
}

// TestExpiringCredentialsAreToldOnce has a controller that syncs often and restarts. What it has told is in the status, and nowhere else.
func TestExpiringCredentialsAreToldOnce(t *testing.T) {
	w := newWorld(t)
	const day = 24 * time.Hour
	token := func(name string, left time.Duration) string {
		return w.tokenClusterAt(name, "https://"+name+".example.com:6443", expiringToken(left), "")
	}
	count := func() (n int) {
		for _, reason := range []string{"CredentialsExpiring", "CredentialsExpireSoon", "CredentialsExpired"} {
			n += len(w.notes(reason))
		}
		return n
	}
	w.startController(nil)
	w.createSync(func(s *v1alpha1.AuditSync) { s.Spec.Interval = &metav1.Duration{Duration: 5 * time.Second} })
	w.untilReady(w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": token("eu", 20*day), "clusters/us.yaml": token("us", 80*day)}))
	w.eventually("an event", func() bool { return count() > 0 })
	if got, want := w.notes("CredentialsExpiring"), []string{"eu: the token expires on " + time.Now().Add(20*day).UTC().Format(time.DateOnly)}; !slices.Equal(got, want) {
		t.Errorf("the events are %q, want %q", got, want)
	}
	told := w.sync().Status.LastExpiryReport
	w.request()
	idle := w.unchanged()
	w.eventually("a sync without news", func() bool { return w.unchanged() > idle })
	w.stopController()
	w.startController(nil)
	w.request()
	if got := w.sync().Status.LastExpiryReport; count() != 1 || told == nil || !told.Equal(got) {
		t.Errorf("after a restart there are %d events; told at %s, and now at %s", count(), told, got)
	}

	accepted := fmt.Sprintf("apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: asia\n  annotations:\n    muster.dev/accept.token-expiring: it is retired next week\nspec:\n"+
		"  serviceAccountAuth:\n    server: https://asia.example.com\n    token: %s\n    caCert: |\n", expiringToken(5*day)) + indent(string(plane.CACert()))
	w.untilReady(w.push(map[string]string{"clusters/us.yaml": token("us", 6*day), "clusters/asia.yaml": w.key.Encrypt(t, "asia.yaml", accepted, sealtest.Credentials)}))
	w.eventually("an event about what is new", func() bool { return count() > 1 })
	if got, want := w.notes("CredentialsExpireSoon"), []string{"us: the token expires soon, on " + time.Now().Add(6*day).UTC().Format(time.DateOnly)}; !slices.Equal(got, want) {
		t.Errorf("the events are %q, want %q", got, want)
	}
	w.request()
	if count() != 2 {
		t.Errorf("%d events", count())
	}
	if problems := fmt.Sprint(w.sync().Status.Problems); !strings.Contains(problems, "token-expiring") || strings.Contains(problems, "CANARY") {
		t.Errorf("the findings are %s", problems)
	}
}
