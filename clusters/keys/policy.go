package keys

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Policy lists the key services that may be asked, and for which keys. It comes from Muster's operator, never from a repository:
// the address in a file is only compared with it. The zero value allows none.
type Policy struct {
	// VaultAddresses are the Vault servers, as https://host:port. http:// is only allowed for loopback addresses.
	VaultAddresses []string
	// VaultNamespace is sent with each request to Vault; empty for none.
	VaultNamespace string
	// AWSKeys are ARNs of keys and aliases, and AWSRoles ARNs of roles that may be assumed when a file asks for one.
	AWSKeys, AWSRoles []string
	// GCPKeys are resource IDs, as projects/P/locations/L/keyRings/R/cryptoKeys/K.
	GCPKeys []string
	// AzureKeys are key identifiers, as https://NAME.vault.azure.net/keys/KEY/VERSION.
	AzureKeys []string
}

// The fields of an AuditSync that a policy comes from, for messages.
const (
	fieldVaultAddresses = "spec.decryption.vault.addresses"
	fieldAWSKeys        = "spec.decryption.aws.keys"
	fieldAWSRoles       = "spec.decryption.aws.roles"
	fieldGCPKeys        = "spec.decryption.gcp.keys"
	fieldAzureKeys      = "spec.decryption.azure.keys"
)

// PolicyError is an invalid entry of a Policy.
type PolicyError struct {
	// Field is the field of the AuditSync.
	Field, Entry, Reason string
}

func (e *PolicyError) Error() string { return fmt.Sprintf("%s: %q %s", e.Field, e.Entry, e.Reason) }

// Validate returns a *PolicyError for the first entry that is too wide or that no key can match.
func (p Policy) Validate() error {
	for _, a := range p.VaultAddresses {
		if _, ok := vaultAddress(a); !ok {
			return &PolicyError{fieldVaultAddresses, a, "is not https://host or https://host:port (http:// is only allowed for loopback)"}
		}
	}
	for _, list := range []struct {
		field   string
		entries []string
		form    *regexp.Regexp
		example string
	}{
		{fieldAWSKeys, p.AWSKeys, awsEntry, "arn:aws:kms:REGION:ACCOUNT:key/ID, optionally ending in * after the account"},
		{fieldAWSRoles, p.AWSRoles, awsRole, "arn:aws:iam::ACCOUNT:role/NAME"},
		{fieldGCPKeys, p.GCPKeys, gcpEntry, "projects/P/locations/L/keyRings/R/cryptoKeys/K, optionally ending in * after the project"},
		{fieldAzureKeys, p.AzureKeys, azureEntry, "https://NAME.vault.azure.net/keys/KEY/VERSION, optionally ending in * after the host"},
	} {
		for _, entry := range list.entries {
			if !list.form.MatchString(entry) {
				return &PolicyError{list.field, entry, "is not " + list.example}
			}
		}
	}
	return nil
}

// The form of the entries in a policy. The CRD has the same expressions.
var (
	awsEntry   = regexp.MustCompile(`^arn:aws(-[a-z-]+)?:kms:[a-z0-9-]+:[0-9]{12}:(\*|(key|alias)/[A-Za-z0-9/_-]*\*?)$`)
	awsRole    = regexp.MustCompile(`^arn:aws(-[a-z-]+)?:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@/_-]+$`)
	gcpEntry   = regexp.MustCompile(`^projects/[a-z0-9.:-]+/(\*|locations/[A-Za-z0-9/_-]*\*?)$`)
	azureEntry = regexp.MustCompile(`^https://[a-z0-9-]+\.(vault\.azure\.net|managedhsm\.azure\.net|vault\.azure\.cn|vault\.usgovcloudapi\.net|managedhsm\.usgovcloudapi\.net)/(\*|keys/[A-Za-z0-9/-]*\*?)$`)
)

// The form of the keys in a file. Nothing else becomes part of the address of a request.
var (
	vaultEngine = regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$`)
	vaultName   = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	awsKey      = regexp.MustCompile(`^arn:(aws(?:-[a-z-]+)?):kms:([a-z0-9-]{1,32}):[0-9]{12}:(?:key|alias)/[A-Za-z0-9/_-]+$`)
	gcpKey      = regexp.MustCompile(`^projects/[a-z0-9.:-]+/locations/[A-Za-z0-9-]+/keyRings/[A-Za-z0-9_-]+/cryptoKeys/[A-Za-z0-9_-]+$`)
	azureKey    = regexp.MustCompile(`^(https://[a-z0-9-]+\.((?:vault|managedhsm)\.(?:azure\.net|azure\.cn|usgovcloudapi\.net)))/keys/[A-Za-z0-9-]{1,127}/[A-Za-z0-9]{1,64}$`)
)

// allowed reports whether an entry equals the key, or ends in * and matches its start.
func allowed(entries []string, key string) bool {
	return slices.ContainsFunc(entries, func(entry string) bool {
		prefix, wide := strings.CutSuffix(entry, "*")
		return entry == key || wide && strings.HasPrefix(key, prefix)
	})
}

func (p Policy) allowsVault(address string) bool {
	return slices.ContainsFunc(p.VaultAddresses, func(entry string) bool {
		canonical, ok := vaultAddress(entry)
		return ok && canonical == address
	})
}

// vaultAddress returns the canonical form of an address, for comparison: scheme, host, and the port unless it is the default. It
// rejects addresses with a path, a query or credentials.
func vaultAddress(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.Hostname() == "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" ||
		strings.Trim(u.Path, "/") != "" || strings.ContainsAny(u.Host, "%\\") {
		return "", false
	}
	host := strings.ToLower(u.Hostname())
	standard := "443"
	switch {
	case u.Scheme == "http" && loopback(host):
		standard = "80"
	case u.Scheme != "https":
		return "", false
	}
	port := u.Port()
	if port == "" || port == standard {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return u.Scheme + "://" + host, true
	}
	return u.Scheme + "://" + net.JoinHostPort(host, port), true
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// notAllowed returns the error for a key that the policy does not list.
func notAllowed(recipient, what, field string) error {
	return &RefusedError{Recipient: quoted(recipient), Cause: NotAllowed,
		Reason: "the file names " + quoted(what) + ", which is not allowed", Fix: "if it is yours, add it to " + field + " of the AuditSync"}
}

// malformed returns the error for a key that can't exist in a service.
func malformed(recipient, what string) error {
	return &RefusedError{Recipient: quoted(recipient), Cause: NotAllowed, Reason: what, Fix: "encrypt the file for an existing key"}
}

// noCredentials returns the error for a key that the Secret has no credential for.
func noCredentials(recipient, field string) error {
	return &RefusedError{Recipient: quoted(recipient), Cause: NoCredentials, Reason: "Muster has no credential for it",
		Fix: "add one in the field " + field + " of the decryption Secret"}
}
