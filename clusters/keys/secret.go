package keys

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/golang-jwt/jwt/v5"
	"go.yaml.in/yaml/v3"
)

// maxField limits a credential in a Secret.
const maxField = 64 << 10

// Ring makes a ring of a Secret's data that asks the key services listed in the policy. The fields are the same as in Flux:
//
//	*.agekey          age identities
//	*.asc             armored PGP private keys without passphrase
//	sops.vault-token  a Vault token
//	sops.aws-kms      aws_access_key_id, aws_secret_access_key and, if required, aws_session_token
//	sops.gcp-kms      a Google service account's key, in JSON
//	sops.azure-kv     an Azure service principal, with a secret or a certificate
//
// and vault.ca.crt, the certificates to trust for Vault instead of the system's. Ring returns a *KeyError if the Secret has no
// such field, if a field can't be used, or if the Secret has no credential for a service in the policy. It returns a
// *PolicyError for an invalid entry of the policy.
//
// To rotate credentials, make a new ring for the new version of the Secret. Data keys that were opened with an old credential
// are not used with a new one.
func (r *Remote) Ring(name string, data map[string][]byte, policy Policy) (*Ring, error) {
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	// Expired values are dropped at the next sync, even if no service is asked any more.
	r.cache.expire(r.now())
	ring := &Ring{remote: r, policy: policy}
	for _, field := range slices.Sorted(maps.Keys(data)) {
		add := ring.fieldReader(field)
		if add == nil {
			continue
		}
		source := fmt.Sprintf("Secret %s, field %s", name, field)
		if err := add(source, string(data[field])); err != nil {
			return nil, err
		}
	}
	if missing := ring.missing(); missing != "" {
		return nil, &KeyError{"Secret " + name, missing}
	}
	if ring.Empty() {
		return nil, &KeyError{"Secret " + name, "it needs a field that ends in " + AgeSuffix + " or " + PGPSuffix +
			", or one of " + strings.Join([]string{VaultTokenField, AWSField, GCPField, AzureField}, ", ")}
	}
	return ring, nil
}

// fieldReader returns the function that reads a field of a Secret, or nil for a field that has no keys.
func (r *Ring) fieldReader(field string) func(source, text string) error {
	switch {
	case strings.HasSuffix(field, AgeSuffix):
		return r.AddAge
	case strings.HasSuffix(field, PGPSuffix):
		return r.AddPGP
	}
	add := map[string]func(text string) error{VaultTokenField: r.addVaultToken, VaultCAField: r.addVaultCA, AWSField: r.addAWS,
		GCPField: r.addGCP, AzureField: r.addAzure}[field]
	if add == nil {
		return nil
	}
	return func(source, text string) error {
		if len(text) > maxField {
			return &KeyError{source, fmt.Sprintf("it is longer than %d bytes", maxField)}
		}
		if err := add(strings.TrimSpace(text)); err != nil {
			return &KeyError{source, err.Error()}
		}
		return nil
	}
}

// missing returns which credential the policy needs but the ring doesn't have.
func (r *Ring) missing() string {
	for _, need := range []struct {
		named     bool
		has       bool
		service   string
		fromField string
	}{
		{len(r.policy.VaultAddresses) > 0, r.vault.token != "", "spec.decryption.vault", VaultTokenField},
		{len(r.policy.AWSKeys) > 0, r.aws.AccessKeyID != "", "spec.decryption.aws", AWSField},
		{len(r.policy.GCPKeys) > 0, r.gcp.key != nil, "spec.decryption.gcp", GCPField},
		{len(r.policy.AzureKeys) > 0, r.azure.client != "", "spec.decryption.azure", AzureField},
	} {
		if need.named && !need.has {
			return "it has no field " + need.fromField + ", which " + need.service + " of the AuditSync needs"
		}
	}
	return ""
}

// The functions below read one field each. Their errors explain what is wrong but never quote the content. They drop the errors
// of libraries, which quote their input.

// addVaultToken adds a Vault token, which is one word.
func (r *Ring) addVaultToken(text string) error {
	if text == "" || !printable(text) || strings.ContainsAny(text, " \t") {
		return errors.New("it is not a Vault token, which is a single word")
	}
	r.vault.token = text
	r.secrets = append(r.secrets, text)
	return nil
}

func printable(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' })
}

func (r *Ring) addVaultCA(text string) error {
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(text)) {
		return errors.New("it has no PEM certificate (a block that starts with -----BEGIN CERTIFICATE-----)")
	}
	r.vault.ca = text
	return nil
}

// fields parses YAML, including JSON. It ignores unknown fields, like Flux.
func fields(text string, into any) error {
	// The library may return a panic's message as its error, which may quote the input.
	if !utf8.ValidString(text) || yaml.Unmarshal([]byte(text), into) != nil {
		return errors.New("it is not a YAML or JSON object with string values")
	}
	return nil
}

func (r *Ring) addAWS(text string) error {
	var given struct {
		ID      string `yaml:"aws_access_key_id"`
		Secret  string `yaml:"aws_secret_access_key"`
		Session string `yaml:"aws_session_token"`
	}
	if err := fields(text, &given); err != nil {
		return err
	}
	switch {
	case given.ID == "":
		return errors.New("it has no aws_access_key_id")
	case given.Secret == "":
		return errors.New("it has no aws_secret_access_key")
	case !printable(given.ID + given.Secret + given.Session):
		return errors.New("it has invalid characters for AWS credentials")
	}
	r.aws = aws.Credentials{AccessKeyID: given.ID, SecretAccessKey: given.Secret, SessionToken: given.Session}
	r.secrets = append(r.secrets, given.Secret)
	if given.Session != "" {
		r.secrets = append(r.secrets, given.Session)
	}
	return nil
}

func (r *Ring) addGCP(text string) error {
	var given struct {
		Type     string `json:"type"`
		Email    string `json:"client_email"`
		KeyID    string `json:"private_key_id"`
		Key      string `json:"private_key"`
		TokenURI string `json:"token_uri"`
	}
	if json.Unmarshal([]byte(text), &given) != nil {
		return errors.New("it is not a service account key in JSON")
	}
	switch {
	case given.Type != "service_account":
		// Other types contain addresses to call, files to read and programs to run.
		return errors.New(`its type must be "service_account"`)
	case given.Email == "":
		return errors.New("it has no client_email")
	case given.TokenURI != "" && given.TokenURI != gcpTokenURI && given.TokenURI != "https://accounts.google.com/o/oauth2/token":
		return errors.New("its token_uri is not Google's, " + gcpTokenURI)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(given.Key))
	if err != nil {
		return errors.New("its private_key is not an RSA key in PEM")
	}
	// Google's two addresses are equivalent.
	r.gcp = gcpAccess{email: given.Email, keyID: given.KeyID, key: key, fingerprint: given.Email + " " + given.KeyID + " " + given.Key}
	r.secrets = append(r.secrets, pemBody(given.Key)...)
	return nil
}

// pemBody returns the private blocks of PEM without their first and last lines, for the redactor.
func pemBody(text string) []string {
	var bodies []string
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return bodies
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			lines := strings.Split(strings.TrimSpace(string(pem.EncodeToMemory(block))), "\n")
			bodies = append(bodies, strings.Join(lines[1:len(lines)-1], "\n"))
		}
	}
}

// azurePart matches a tenant or client: a UUID, or for a tenant a domain. They become part of an address.
var azurePart = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*$`)

// addAzure accepts both forms that Flux accepts: its own names, and the output of az ad sp create-for-rbac.
func (r *Ring) addAzure(text string) error {
	var given struct {
		Tenant    string `yaml:"tenantId"`
		Client    string `yaml:"clientId"`
		Secret    string `yaml:"clientSecret"`
		Cert      string `yaml:"clientCertificate"`
		Password  string `yaml:"clientCertificatePassword"`
		Chain     bool   `yaml:"clientCertificateSendChain"`
		Authority string `yaml:"authorityHost"`
		AzTenant  string `yaml:"tenant"`
		AzClient  string `yaml:"appId"`
		AzSecret  string `yaml:"password"`
	}
	if err := fields(text, &given); err != nil {
		return err
	}
	a := azureAccess{authority: azureAuthorities[0], tenant: given.Tenant + given.AzTenant, client: given.Client + given.AzClient,
		secret: given.Secret + given.AzSecret, sendChain: given.Chain}
	if given.Authority != "" {
		a.authority = strings.TrimSuffix(given.Authority, "/")
	}
	switch {
	case !slices.Contains(azureAuthorities, a.authority):
		return errors.New("its authorityHost must be one of Microsoft's:  " + strings.Join(azureAuthorities, ", "))
	case !azurePart.MatchString(a.client):
		return errors.New("it has no clientId (or appId)")
	case a.tenant == "" && a.secret == "" && given.Cert == "":
		return errors.New("it has only a clientId, which means a managed identity; Muster does not use the machine's identity,  " +
			"so set tenantId and clientSecret or clientCertificate")
	case !azurePart.MatchString(a.tenant):
		return errors.New("it has no tenantId (or tenant)")
	case (a.secret == "") == (given.Cert == ""):
		return errors.New("it needs one of clientSecret (or password) and clientCertificate")
	}
	if given.Cert != "" {
		if err := a.addCertificate(given.Cert, given.Password); err != nil {
			return err
		}
		r.secrets = append(r.secrets, pemBody(given.Cert)...)
	}
	a.fingerprint = strings.Join([]string{a.authority, a.tenant, a.client, a.secret, given.Cert, given.Password}, " ")
	r.azure = a
	for _, secret := range []string{a.secret, given.Password} {
		if secret != "" {
			r.secrets = append(r.secrets, secret)
		}
	}
	return nil
}

// addCertificate parses PEM, or PKCS #12. The parser of Azure's SDK only uses its arguments.
func (a *azureAccess) addCertificate(text, password string) error {
	certificates, key, err := azidentity.ParseCertificates([]byte(text), []byte(password))
	if err != nil {
		return errors.New("its clientCertificate must be a certificate with its private key, as PEM without passphrase or PKCS #12")
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return errors.New("the key of its clientCertificate must be an RSA key, as Entra requires")
	}
	for i, c := range certificates {
		if public, ok := c.PublicKey.(*rsa.PublicKey); ok && public.Equal(&private.PublicKey) {
			// The certificate of the key comes first, the others are its chain.
			certificates[0], certificates[i] = certificates[i], certificates[0]
			a.certificates, a.key = certificates, private
			return nil
		}
	}
	return errors.New("the private key of its clientCertificate does not match the certificate")
}
