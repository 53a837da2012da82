package keys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// signJWT returns a JSON Web Token, signed with RS256: RSASSA-PKCS1-v1_5 and SHA-256, RFC 7518 section 3.3.
func signJWT(key *rsa.PrivateKey, header, claims map[string]any) (string, error) {
	header["typ"], header["alg"] = "JWT", "RS256"
	var parts []string
	for _, part := range []map[string]any{header, claims} {
		text, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	signed := strings.Join(parts, ".")
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// bearer gets an access token from a token endpoint, RFC 6749 section 5, and its lifetime. refused converts the endpoint's error
// code to an error.
func (r *Remote) bearer(ctx context.Context, endpoint string, form url.Values, refused func(code string) error) ([]byte, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := post(r.client(""), req)
	if err != nil {
		return nil, 0, err
	}
	var said struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
		Error       string `json:"error"`
	}
	if json.Unmarshal(got.body, &said) != nil || got.status != http.StatusOK || said.AccessToken == "" {
		return nil, 0, refused(quoted(said.Error))
	}
	return []byte(said.AccessToken), time.Duration(min(max(said.ExpiresIn, 0), 86400)) * time.Second, nil
}

// postJSON posts a JSON body with a bearer token.
func (r *Remote) postJSON(ctx context.Context, target string, token []byte, body any) (answer, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(data))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+string(token))
	return post(r.client(""), req)
}
