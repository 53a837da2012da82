package sources

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// Argo is the key config of a cluster Secret of Argo CD,
// https://argo-cd.readthedocs.io/en/stable/operator-manual/declarative-setup/#clusters.
type Argo struct {
	Username, Password, BearerToken string
	TLSClientConfig                 struct {
		Insecure                  bool
		ServerName                string
		CertData, KeyData, CAData string
	}
	AWSAuthConfig      *struct{ ClusterName, RoleARN, Profile string }
	ExecProviderConfig *struct {
		Command string
		Args    []string
	}
	ProxyURL string `json:"proxyUrl"`
}

// ParseArgo returns the config of a cluster Secret. The error repeats none of it.
func ParseArgo(data map[string][]byte) (*Argo, error) {
	c := &Argo{}
	if json.Unmarshal(data["config"], c) != nil {
		return nil, errors.New("the key config of its Secret is not JSON")
	}
	return c, nil
}

// Connection returns the cluster and the user of a kubeconfig for a server.
func (c *Argo) Connection(server string) (cluster, user map[string]any) {
	cluster, user = map[string]any{"server": server}, map[string]any{}
	set := func(to map[string]any, key, value string) {
		if value != "" {
			to[key] = value
		}
	}
	tls := c.TLSClientConfig
	set(cluster, "certificate-authority-data", tls.CAData)
	set(cluster, "tls-server-name", tls.ServerName)
	set(cluster, "proxy-url", c.ProxyURL)
	if tls.Insecure {
		cluster["insecure-skip-tls-verify"] = true
	}
	set(user, "token", c.BearerToken)
	set(user, "client-certificate-data", tls.CertData)
	set(user, "client-key-data", tls.KeyData)
	set(user, "username", c.Username)
	set(user, "password", c.Password)
	return cluster, user
}

// program returns the program with which Argo CD logs in, and the provider of workloadIdentity that replaces it; empty if there is
// none or it is unknown.
func (c *Argo) program() (command, provider string) {
	if c.AWSAuthConfig != nil {
		return "aws", "eks"
	}
	if c.ExecProviderConfig == nil {
		return "", ""
	}
	command = c.ExecProviderConfig.Command
	words := append([]string{command[strings.LastIndex(command, "/")+1:]}, c.ExecProviderConfig.Args...)
	for _, known := range [][2]string{{"aws", "eks"}, {"aws-iam-authenticator", "eks"}, {"gcp", "gke"}, {"gke-gcloud-auth-plugin", "gke"}, {"azure", "aks"}, {"kubelogin", "aks"}} {
		if slices.Contains(words, known[0]) {
			return command, known[1]
		}
	}
	return command, ""
}

// publicFields are the fields of a config that aren't secret, and that messages may name.
var publicFields = []string{"command", "clusterName", "roleARN", "profile", "serverName", "caData"}

// ArgoSecrets are what is secret in a cluster Secret of Argo CD.
func ArgoSecrets(data map[string][]byte) []string {
	var config any
	if json.Unmarshal(data["config"], &config) != nil {
		return []string{string(data["config"])}
	}
	return secretTexts(config)
}

func secretTexts(v any) (texts []string) {
	switch v := v.(type) {
	case string:
		texts = append(texts, v)
	case map[string]any:
		for key, item := range v {
			if !slices.Contains(publicFields, key) {
				texts = append(texts, secretTexts(item)...)
			}
		}
	case []any:
		for _, item := range v {
			texts = append(texts, secretTexts(item)...)
		}
	}
	return texts
}
