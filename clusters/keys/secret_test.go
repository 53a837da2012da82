package keys_test

import (
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/keys"
)

// TestBadCredentials: the error names the field and its problem, and never quotes the content.
func TestBadCredentials(t *testing.T) {
	c := startClouds(t)
	other := newRSA(t)
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certify(t, c.google).Raw}))
	const secret = "canary-f00d"
	for _, row := range []struct{ reason, field, text, says string }{
		{"an empty token", "sops.vault-token", "  \n", "single word"},
		{"two tokens", "sops.vault-token", secret + "\n" + secret, "single word"},
		{"a token with a header after it", "sops.vault-token", secret + "\r\nX-Evil: 1", "single word"},
		{"a token that is not text", "sops.vault-token", secret + "\xff", "single word"},
		{"a huge token", "sops.vault-token", strings.Repeat(secret, 1<<14), "longer than"},
		{"a CA that is no certificate", "vault.ca.crt", secret, "no PEM certificate"},
		{"no access key", "sops.aws-kms", "aws_secret_access_key: " + secret, "aws_access_key_id"},
		{"no secret key", "sops.aws-kms", "aws_access_key_id: " + secret, "aws_secret_access_key"},
		{"a text", "sops.aws-kms", secret, "YAML"},
		{"a list", "sops.aws-kms", "[" + secret + "]", "YAML"},
		{"a broken object", "sops.aws-kms", "aws_access_key_id: {" + secret, "YAML"},
		{"a credential with a line feed", "sops.aws-kms", "aws_access_key_id: x\naws_secret_access_key: \"" + secret + "\\n\"", "for AWS credentials"},
		{"not UTF-8", "sops.aws-kms", "aws_access_key_id: \xff" + secret, "YAML"},
		{"an external account, which names addresses and programs", "sops.gcp-kms", `{"type":"external_account","credential_source":{"executable":{"command":"` + secret + `"}}}`, "service_account"},
		{"a user's credentials", "sops.gcp-kms", `{"type":"authorized_user","refresh_token":"` + secret + `"}`, "service_account"},
		{"a token server of somebody else", "sops.gcp-kms", c.gcpField(map[string]string{"token_uri": "https://evil.example.com/" + secret}), "token_uri"},
		{"no e-mail", "sops.gcp-kms", c.gcpField(map[string]string{"client_email": ""}), "client_email"},
		{"no private key", "sops.gcp-kms", c.gcpField(map[string]string{"private_key": secret}), "private_key"},
		{"not JSON", "sops.gcp-kms", secret, "JSON"},
		{"no client", "sops.azure-kv", "tenantId: x\nclientSecret: " + secret, "clientId"},
		{"no tenant", "sops.azure-kv", "clientId: x\nclientSecret: " + secret, "tenantId"},
		{"a tenant that leads elsewhere", "sops.azure-kv", "tenantId: ../" + secret + "\nclientId: x\nclientSecret: y", "tenantId"},
		{"a managed identity", "sops.azure-kv", "clientId: x", "managed identity"},
		{"neither secret nor certificate", "sops.azure-kv", "tenantId: t\nclientId: x", "clientCertificate"},
		{"both", "sops.azure-kv", "tenantId: t\nclientId: x\nclientSecret: " + secret + "\nclientCertificate: " + secret, "clientCertificate"},
		{"a certificate without its key", "sops.azure-kv", "tenantId: t\nclientId: x\nclientCertificate: |\n" + indented(cert), "private key"},
		{"a certificate with another's key", "sops.azure-kv", "tenantId: t\nclientId: x\nclientCertificate: |\n" + indented(cert+pkcs8(t, other)), "does not match the certificate"},
		{"a token server of somebody else", "sops.azure-kv", c.azureField() + "authorityHost: https://" + secret + ".example.com", "authorityHost"},
	} {
		_, err := keys.FromSecret("sops-keys", text(map[string]string{row.field: row.text}))
		var bad *keys.KeyError
		if !errors.As(err, &bad) || bad.Source != "Secret sops-keys, field "+row.field || !strings.Contains(bad.Reason, row.says) {
			t.Errorf("%s: %v, want an error about %s that says %q", row.reason, err, row.field, row.says)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error repeats the field: %v", row.reason, err)
		}
	}
}

// TestSecretsAreMadeKnown: the redactor learns every secret part of every field.
func TestSecretsAreMadeKnown(t *testing.T) {
	c := startClouds(t)
	fields := c.fields()
	fields["sops.vault-token"] = "hvs.CANARY\n"
	fields["sops.aws-kms"] += "aws_session_token: canary-session\n"
	ring, err := keys.FromSecret("sops-keys", text(fields))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hvs.CANARY", c.awsSecret, "canary-session", c.azureSecret} {
		if !slices.Contains(ring.Secrets(), secret) {
			t.Errorf("%s is not known", secret)
		}
	}
	lines := strings.Split(pkcs8(t, c.google), "\n")
	if !strings.Contains(strings.Join(ring.Secrets(), "\n"), strings.Join(lines[1:len(lines)-2], "\n")) {
		t.Error("the private key of the service account is not known")
	}
}
