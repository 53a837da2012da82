package keys

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/getsops/sops/v3/keyservice"
)

// AWSField is the field of a decryption Secret with AWS credentials, as Flux names it.
const AWSField = "sops.aws-kms"

// awsRegion matches the beginning of an ARN whose partition has its region, as in the SDK for Go (internal/endpoints/awsrulesfn,
// v1.42.1). The SDK itself takes any other region for one of the partition aws.
var awsRegion = regexp.MustCompile(`^arn:(aws:kms:(us|eu|ap|sa|ca|me|af|il|mx)-\w+-\d+|aws-cn:kms:cn-\w+-\d+|aws-us-gov:kms:us-gov-\w+-\d+|` +
	`aws-eusc:kms:eusc-de-\w+-\d+|aws-iso:kms:us-iso-\w+-\d+|aws-iso-b:kms:us-isob-\w+-\d+|aws-iso-e:kms:eu-isoe-\w+-\d+|aws-iso-f:kms:us-isof-\w+-\d+):`)

// awsCall is the region and the key of requests to AWS.
type awsCall struct {
	remote *Remote
	region string
	// address is that of KMS in the region.
	address   string
	recipient string
}

// awsQuestion returns a Decrypt request of KMS. It ignores a profile in the file, because the Secret has only one credential.
func (r *Ring) awsQuestion(ctx context.Context, key *keyservice.KmsKey, message []byte) (question, error) {
	arn, role := key.GetArn(), key.GetRole()
	parts := awsKey.FindStringSubmatch(arn)
	switch {
	case parts == nil:
		return question{}, malformed(arn, "it is not the ARN of a KMS key")
	case !awsRegion.MatchString(arn):
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
	endpoint, err := kms.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, kms.EndpointParameters{Region: &parts[2]})
	if err != nil {
		return question{}, malformed(arn, "its region has no KMS")
	}
	call := awsCall{r.remote, parts[2], endpoint.URI.String(), quoted(arn)}
	access := []string{role, r.aws.AccessKeyID, r.aws.SecretAccessKey, r.aws.SessionToken}
	names := append([]string{"aws", arn, string(message)}, access...)
	for _, name := range slices.Sorted(maps.Keys(key.GetContext())) {
		names = append(names, name, key.GetContext()[name])
	}
	asked := &kms.DecryptInput{KeyId: &arn, CiphertextBlob: blob, EncryptionContext: key.GetContext()}
	return question{
		id: r.remote.idOf(names...), server: r.remote.server(call.address, access...),
		ask: func(ctx context.Context) ([]byte, error) {
			as, err := call.assume(ctx, r.aws, role)
			if err != nil {
				return nil, err
			}
			return call.decrypt(ctx, as, asked)
		},
	}, nil
}

// decrypt asks KMS, https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html.
func (c awsCall) decrypt(ctx context.Context, as aws.Credentials, asked *kms.DecryptInput) ([]byte, error) {
	client := kms.New(kms.Options{Region: c.region, Credentials: credentials.StaticCredentialsProvider{Value: as},
		HTTPClient: c.remote.client(""), Retryer: aws.NopRetryer{}})
	got, err := client.Decrypt(ctx, asked)
	if err != nil {
		return nil, c.failure(ctx, "AWS KMS", c.address, err)
	}
	return dataKey(c.recipient, "AWS KMS", got.Plaintext)
}

// assume returns the credentials of a role, https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html, and caches
// them. Without a role, it returns the given credentials.
func (c awsCall) assume(ctx context.Context, as aws.Credentials, role string) (aws.Credentials, error) {
	if role == "" {
		return as, nil
	}
	name := c.remote.idOf("aws role", c.region, role, as.AccessKeyID, as.SecretAccessKey, as.SessionToken)
	data, err := c.remote.cached(ctx, name, func(ctx context.Context) ([]byte, time.Duration, error) {
		client := sts.New(sts.Options{Region: c.region, Credentials: credentials.StaticCredentialsProvider{Value: as},
			HTTPClient: c.remote.client(""), Retryer: aws.NopRetryer{}})
		got, err := client.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("muster")})
		if err != nil {
			return nil, 0, c.failure(ctx, "AWS STS", strings.Replace(c.address, "kms", "sts", 1), err)
		}
		if got.Credentials == nil {
			return nil, 0, unexpectedAnswer(c.recipient, "AWS STS")
		}
		data, err := json.Marshal(aws.Credentials{AccessKeyID: aws.ToString(got.Credentials.AccessKeyId),
			SecretAccessKey: aws.ToString(got.Credentials.SecretAccessKey), SessionToken: aws.ToString(got.Credentials.SessionToken)})
		return data, aws.ToTime(got.Credentials.Expiration).Sub(c.remote.now()), err
	})
	var assumed aws.Credentials
	if err == nil {
		err = json.Unmarshal(data, &assumed)
	}
	return assumed, err
}

// failure classifies an error of the SDK. AWS mostly returns its error codes with status 400.
func (c awsCall) failure(ctx context.Context, service, address string, err error) error {
	said, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return noAnswer(ctx, c.recipient, service, address, err)
	}
	code := quoted(said.ErrorCode())
	if _, throttled := retry.DefaultThrottleErrorCodes[code]; throttled {
		return &UnavailableError{address, "it returned " + code}
	}
	switch code {
	case "InvalidCiphertextException", "IncorrectKeyException", "NotFoundException", "DisabledException", "KMSInvalidStateException",
		"InvalidKeyUsageException", "InvalidArnException", "ValidationException":
		return &RefusedError{c.recipient, Rejected, "AWS KMS can't decrypt it: " + code, "check that the key exists and is enabled, and that the file is encrypted for it"}
	default:
		return &RefusedError{c.recipient, Denied, "AWS denied it: " + orNoReason(code),
			"check that the credentials in the field " + AWSField + " of the decryption Secret are valid, and may kms:Decrypt with this key"}
	}
}
