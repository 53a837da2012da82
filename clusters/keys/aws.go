package keys

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/getsops/sops/v3/keyservice"
)

// AWSField is the field of a decryption Secret with AWS credentials, as Flux names it.
const AWSField = "sops.aws-kms"

// awsPartitions are the partitions of AWS with their regions and endpoint domain, as in the SDK for Go
// (internal/endpoints/awsrulesfn, v1.42.1).
var awsPartitions = map[string]struct {
	regions *regexp.Regexp
	domain  string
}{
	"aws":        {regexp.MustCompile(`^(us|eu|ap|sa|ca|me|af|il|mx)-\w+-\d+$`), "amazonaws.com"},
	"aws-cn":     {regexp.MustCompile(`^cn-\w+-\d+$`), "amazonaws.com.cn"},
	"aws-us-gov": {regexp.MustCompile(`^us-gov-\w+-\d+$`), "amazonaws.com"},
	"aws-eusc":   {regexp.MustCompile(`^eusc-de-\w+-\d+$`), "amazonaws.eu"},
	"aws-iso":    {regexp.MustCompile(`^us-iso-\w+-\d+$`), "c2s.ic.gov"},
	"aws-iso-b":  {regexp.MustCompile(`^us-isob-\w+-\d+$`), "sc2s.sgov.gov"},
	"aws-iso-e":  {regexp.MustCompile(`^eu-isoe-\w+-\d+$`), "cloud.adc-e.uk"},
	"aws-iso-f":  {regexp.MustCompile(`^us-isof-\w+-\d+$`), "csp.hci.ic.gov"},
}

// awsCall is the endpoint and identity for requests to AWS.
type awsCall struct {
	remote         *Remote
	region, domain string
	recipient      string
}

// awsQuestion returns a Decrypt request of KMS, https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html. It ignores
// a profile in the file, because the Secret has only one credential.
func (r *Ring) awsQuestion(key *keyservice.KmsKey, message []byte) (question, error) {
	arn, role := key.GetArn(), key.GetRole()
	parts := awsKey.FindStringSubmatch(arn)
	if parts == nil {
		return question{}, malformed(arn, "it is not the ARN of a KMS key")
	}
	partition, ok := awsPartitions[parts[1]]
	switch {
	case !ok || !partition.regions.MatchString(parts[2]):
		return question{}, malformed(arn, "its partition does not have this region")
	case !allowed(r.policy.AWSKeys, arn):
		return question{}, notAllowed(arn, arn, fieldAWSKeys)
	case role != "" && !slices.Contains(r.policy.AWSRoles, role):
		return question{}, notAllowed(arn, "the role "+role, fieldAWSRoles)
	case r.aws.AccessKeyID == "":
		return question{}, noCredentials(arn, AWSField)
	}
	blob, err := base64.StdEncoding.DecodeString(string(message))
	if err != nil {
		return question{}, malformed(arn, "the encrypted data key is not base64")
	}
	call, credentials := awsCall{r.remote, parts[2], partition.domain, quoted(arn)}, r.aws
	asked := map[string]any{"KeyId": arn, "CiphertextBlob": blob}
	if len(key.GetContext()) > 0 {
		asked["EncryptionContext"] = key.GetContext()
	}
	names := []string{"aws", arn, role, credentials.AccessKeyID, credentials.SecretAccessKey, credentials.SessionToken, string(message)}
	for _, name := range slices.Sorted(maps.Keys(key.GetContext())) {
		names = append(names, name, key.GetContext()[name])
	}
	return question{
		recipient: quoted(arn), id: r.remote.idOf(names...),
		endpoint: r.remote.endpoint("https://"+call.host("kms"), role, credentials.AccessKeyID, credentials.SecretAccessKey, credentials.SessionToken),
		ask: func(ctx context.Context) ([]byte, error) {
			if role == "" {
				return call.decrypt(ctx, credentials, asked)
			}
			assumed, err := call.assume(ctx, credentials, role)
			if err != nil {
				return nil, err
			}
			return call.decrypt(ctx, assumed, asked)
		},
	}, nil
}

func (c awsCall) host(service string) string { return service + "." + c.region + "." + c.domain }

func (c awsCall) decrypt(ctx context.Context, as aws.Credentials, asked map[string]any) ([]byte, error) {
	body, err := json.Marshal(asked)
	if err != nil {
		return nil, err
	}
	got, err := c.send(ctx, "kms", as, body, http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {"TrentService.Decrypt"}})
	if err != nil {
		return nil, err
	}
	var said struct {
		Plaintext string `json:"Plaintext"`
		Failure   string `json:"__type"`
	}
	if json.Unmarshal(got.body, &said) != nil {
		return nil, unexpectedAnswer(c.recipient, "AWS KMS")
	}
	if got.status != http.StatusOK {
		return nil, c.failure("kms", said.Failure)
	}
	return plaintext(c.recipient, "AWS KMS", base64.StdEncoding, said.Plaintext)
}

// assume assumes a role, https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html, and caches the credentials.
func (c awsCall) assume(ctx context.Context, as aws.Credentials, role string) (aws.Credentials, error) {
	name := c.remote.idOf("aws role", c.region, role, as.AccessKeyID, as.SecretAccessKey, as.SessionToken)
	data, err := c.remote.cached(ctx, name, func(ctx context.Context) ([]byte, time.Duration, error) {
		form := url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {role}, "RoleSessionName": {"muster"}}
		got, err := c.send(ctx, "sts", as, []byte(form.Encode()), http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}})
		if err != nil {
			return nil, 0, err
		}
		var said struct {
			Code        string `xml:"Error>Code"`
			Credentials struct {
				AccessKeyId, SecretAccessKey, SessionToken string
				Expiration                                 time.Time
			} `xml:"AssumeRoleResult>Credentials"`
		}
		if xml.Unmarshal(got.body, &said) != nil {
			return nil, 0, unexpectedAnswer(c.recipient, "AWS STS")
		}
		if got.status != http.StatusOK {
			return nil, 0, c.failure("sts", said.Code)
		}
		data, err := json.Marshal(said.Credentials) //nolint:gosec // for the cache, which is for secrets
		return data, said.Credentials.Expiration.Sub(c.remote.now()), err
	})
	if err != nil {
		return aws.Credentials{}, err
	}
	var assumed struct{ AccessKeyId, SecretAccessKey, SessionToken string }
	err = json.Unmarshal(data, &assumed)
	return aws.Credentials{AccessKeyID: assumed.AccessKeyId, SecretAccessKey: assumed.SecretAccessKey, SessionToken: assumed.SessionToken}, err
}

// send signs a request with Signature Version 4 and posts it.
func (c awsCall) send(ctx context.Context, service string, as aws.Credentials, body []byte, header http.Header) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+c.host(service)+"/", bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header = header
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, as, req, hex.EncodeToString(sum[:]), service, c.region, c.remote.now()); err != nil {
		return answer{}, err
	}
	return post(c.remote.client(""), req)
}

// failure classifies the error codes of AWS, which mostly come with status 400. A code may have a namespace prefix.
func (c awsCall) failure(service, code string) error {
	code = quoted(code[strings.LastIndex(code, "#")+1:])
	switch code {
	case "ThrottlingException", "Throttling", "LimitExceededException", "KMSInternalException", "DependencyTimeoutException",
		"KeyUnavailableException", "RequestLimitExceeded", "ServiceUnavailable", "InternalFailure":
		return &UnavailableError{"https://" + c.host(service), "it returned " + code}
	case "InvalidCiphertextException", "IncorrectKeyException", "NotFoundException", "DisabledException", "KMSInvalidStateException",
		"InvalidKeyUsageException", "InvalidArnException", "ValidationException":
		return &RefusedError{c.recipient, Rejected, "AWS KMS can't decrypt it: " + code, "check that the key exists and is enabled, and that the file is encrypted for it"}
	default:
		return &RefusedError{c.recipient, Denied, "AWS denied it: " + orNoReason(code),
			"check that the credentials in the field " + AWSField + " of the decryption Secret are valid, and may kms:Decrypt with this key"}
	}
}
