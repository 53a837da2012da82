package recipient

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Config is one .sops.yaml.
type Config struct {
	// Path is its path in the repository, and Data its content.
	Path, Data string
	rules      []Rule
}

// Rule is a creation rule.
type Rule struct {
	// Line is its line in the file.
	Line int
	Recipients
	path *regexp.Regexp
}

// ConfigError is why a .sops.yaml can't be used. It quotes nothing from the file.
type ConfigError struct {
	// Line is 0 if the reason is about the whole file.
	Line   int
	Reason string
}

func (e *ConfigError) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
}

// Limits that no real repository reaches. Every file is matched against every rule until one matches, and its
// recipients are compared with that rule's, one by one.
const (
	maxRules = 500
	// maxPatterns bounds the path_regex of all rules together.
	maxPatterns   = 4 << 10
	maxRecipients = 1000
)

// ParseConfig reads a .sops.yaml. The error is a *ConfigError.
func ParseConfig(path string, data []byte) (config *Config, err error) {
	defer func() {
		if recover() != nil { // the library's panic may quote the file
			config, err = nil, &ConfigError{1, "the YAML library fails on this file"}
		}
	}()
	var file struct {
		Rules []yaml.Node `yaml:"creation_rules"`
	}
	if yaml.Unmarshal(data, &file) != nil {
		return nil, &ConfigError{1, "it is not YAML, or creation_rules is not a list"}
	}
	if len(file.Rules) > maxRules {
		return nil, &ConfigError{file.Rules[maxRules].Line, fmt.Sprintf("it has more than %d rules", maxRules)}
	}
	config = &Config{Path: path, Data: string(data)}
	patterns := 0
	for i := range file.Rules {
		rule, bad := newRule(&file.Rules[i], maxPatterns-patterns)
		if bad != nil {
			return nil, bad
		}
		if rule.path != nil {
			patterns += len(rule.path.String())
		}
		config.rules = append(config.rules, rule)
	}
	return config, nil
}

func newRule(node *yaml.Node, room int) (Rule, *ConfigError) {
	var fields creationRule
	if node.Decode(&fields) != nil {
		return Rule{}, &ConfigError{node.Line, "the rule has a field of the wrong type"}
	}
	rule := Rule{Line: node.Line}
	if len(fields.PathRegex) > room {
		return Rule{}, &ConfigError{node.Line, fmt.Sprintf("the path_regex of all rules exceed %d characters in total", maxPatterns)}
	}
	if fields.PathRegex != "" {
		path, err := regexp.Compile(fields.PathRegex)
		if err != nil {
			return Rule{}, &ConfigError{node.Line, "path_regex is not a regular expression"}
		}
		rule.path = path
	}
	groups := []Group{fields.group()}
	if len(fields.KeyGroups) > 0 { // sops then ignores all other recipients of the rule
		groups = nil
		for _, g := range fields.KeyGroups {
			groups = append(groups, g.group())
		}
	}
	if rule.Recipients = newRecipients(groups, fields.Threshold); len(rule.All()) > maxRecipients {
		return Rule{}, &ConfigError{node.Line, fmt.Sprintf("the rule has more than %d recipients", maxRecipients)}
	}
	return rule, nil
}

// For returns the rule for a file below the folder of the .sops.yaml: the first whose path_regex matches the file's
// path relative to that folder.
func (c *Config) For(file string) (Rule, bool) {
	if dir, found := strings.CutSuffix(c.Path, "/"+ConfigName); found {
		file = strings.TrimPrefix(file, dir+"/")
	}
	for _, r := range c.rules {
		if r.path == nil || r.path.MatchString(file) {
			return r, true
		}
	}
	return Rule{}, false
}

// ConfigName is the name of sops' configuration file.
const ConfigName = ".sops.yaml"

// creationRule has the recipients of a rule, named as in sops' config package.
type creationRule struct {
	PathRegex string     `yaml:"path_regex"`
	Age       names      `yaml:"age"`
	PGP       names      `yaml:"pgp"`
	KMS       names      `yaml:"kms"`
	GCP       names      `yaml:"gcp_kms"`
	Huawei    names      `yaml:"hckms"`
	Azure     names      `yaml:"azure_keyvault"`
	Vault     names      `yaml:"hc_vault_transit_uri"`
	KeyGroups []keyGroup `yaml:"key_groups"`
	Threshold int        `yaml:"shamir_threshold"`
}

func (r creationRule) group() Group {
	var g Group
	g.add(r.Age, ageForm)
	g.add(r.PGP, pgpForm)
	g.add(r.KMS, kmsForm)
	g.add(r.GCP, gcpForm)
	g.add(r.Huawei, huaweiForm)
	g.add(r.Vault, vaultForm)
	g.add(r.Azure, azureURI)
	return g
}

type keyGroup struct {
	Merge []keyGroup `yaml:"merge"`
	Age   names      `yaml:"age"`
	PGP   names      `yaml:"pgp"`
	Vault names      `yaml:"hc_vault"`
	KMS   []struct {
		ARN string `yaml:"arn"`
	} `yaml:"kms"`
	GCP []struct {
		Resource string `yaml:"resource_id"`
	} `yaml:"gcp_kms"`
	Huawei []struct {
		ID string `yaml:"key_id"`
	} `yaml:"hckms"`
	Azure []struct {
		URL string `yaml:"vaultUrl"`
		Key string `yaml:"key"`
	} `yaml:"azure_keyvault"`
}

func (k keyGroup) group() Group {
	var g Group
	for _, m := range k.Merge {
		g = append(g, m.group()...)
	}
	g.add(k.Age, ageForm)
	g.add(k.PGP, pgpForm)
	g.add(k.Vault, vaultForm)
	for _, key := range k.KMS {
		g = append(g, kmsForm(key.ARN))
	}
	for _, key := range k.GCP {
		g = append(g, gcpForm(key.Resource))
	}
	for _, key := range k.Huawei {
		g = append(g, huaweiForm(key.ID))
	}
	for _, key := range k.Azure {
		g = append(g, azureForm(key.URL, key.Key))
	}
	return g
}

func (g *Group) add(list names, form func(string) string) {
	for _, name := range list {
		*g = append(*g, form(name))
	}
}

// names is a list, or a string with commas.
type names []string

// UnmarshalYAML accepts both forms.
func (n *names) UnmarshalYAML(node *yaml.Node) error {
	var list []string
	if node.Kind == yaml.SequenceNode {
		if err := node.Decode(&list); err != nil {
			return err
		}
	} else {
		var text string
		if err := node.Decode(&text); err != nil {
			return err
		}
		list = []string{text}
	}
	*n = nil
	for _, item := range list {
		for name := range strings.SplitSeq(item, ",") {
			if name = strings.TrimSpace(name); name != "" {
				*n = append(*n, name)
			}
		}
	}
	return nil
}
