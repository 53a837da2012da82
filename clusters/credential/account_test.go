package credential_test

import (
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/credential"
)

func TestAccountOf(t *testing.T) {
	requested := `{"sub":"system:serviceaccount:scan:scanner","iat":1000,"exp":4600,"kubernetes.io":{"namespace":"scan","serviceaccount":{"name":"scanner","uid":"u-1"}}}`
	kept := `{"iss":"kubernetes/serviceaccount","sub":"system:serviceaccount:scan:scanner","kubernetes.io/serviceaccount/namespace":"scan",` +
		`"kubernetes.io/serviceaccount/secret.name":"scanner-token","kubernetes.io/serviceaccount/service-account.uid":"u-1"}`
	tests := []struct {
		reason, token string
		want          credential.Account
	}{
		{"requested", jwt(requested), credential.Account{Namespace: "scan", Name: "scanner", UID: "u-1", Expires: time.Unix(4600, 0), Lifetime: time.Hour}},
		{"kept in a Secret", jwt(kept), credential.Account{Namespace: "scan", Name: "scanner", UID: "u-1", Secret: "scanner-token"}},
		{"with a newline", jwt(kept) + "\n", credential.Account{Namespace: "scan", Name: "scanner", UID: "u-1", Secret: "scanner-token"}},
		{"an end, and no beginning", jwt(`{"sub":"system:serviceaccount:a:b","exp":5,"kubernetes.io":{"serviceaccount":{"uid":"u"}}}`),
			credential.Account{Namespace: "a", Name: "b", UID: "u", Expires: time.Unix(5, 0)}},

		{"opaque", "canary", credential.Account{}},
		{"empty", "", credential.Account{}},
		{"not base64", "a.%.c", credential.Account{}},
		{"no JSON", "a." + raw("canary") + ".c", credential.Account{}},
		{"of a user", jwt(`{"sub":"canary"}`), credential.Account{}},
		{"of a cloud", jwt(`{"sub":"system:serviceaccount:a:b"}`), credential.Account{}},
		{"a name that would be a command", jwt(`{"sub":"system:serviceaccount:a:$(reboot)","kubernetes.io":{"serviceaccount":{"uid":"u"}}}`), credential.Account{}},
		{"a namespace that would be an option", jwt(`{"sub":"system:serviceaccount:--all:b","kubernetes.io":{"serviceaccount":{"uid":"u"}}}`), credential.Account{}},
		{"a Secret that would be a command", jwt(`{"sub":"system:serviceaccount:a:b","kubernetes.io/serviceaccount/secret.name":"x; reboot","kubernetes.io":{"serviceaccount":{"uid":"u"}}}`), credential.Account{}},
		{"a claim of another type", jwt(`{"sub":"system:serviceaccount:a:b","kubernetes.io":"u"}`), credential.Account{}},
	}
	for _, test := range tests {
		got, ok := credential.AccountOf(test.token)
		if ok != (test.want != credential.Account{}) || ok && got != test.want {
			t.Errorf("%s: %+v, %v", test.reason, got, ok)
		}
	}
}
