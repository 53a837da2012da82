package recipient

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// block has the recipients in the sops block of a file, named as in sops' stores package.
type block struct {
	storedGroup `yaml:",inline"`
	KeyGroups   []storedGroup `yaml:"key_groups" json:"key_groups"`
	Threshold   int           `yaml:"shamir_threshold" json:"shamir_threshold"`
}

type storedGroup struct {
	Age    []stored `yaml:"age" json:"age"`
	PGP    []stored `yaml:"pgp" json:"pgp"`
	KMS    []stored `yaml:"kms" json:"kms"`
	GCP    []stored `yaml:"gcp_kms" json:"gcp_kms"`
	Huawei []stored `yaml:"hckms" json:"hckms"`
	Azure  []stored `yaml:"azure_kv" json:"azure_kv"`
	Vault  []stored `yaml:"hc_vault" json:"hc_vault"`
}

// stored is a recipient of any kind. Each kind has its own fields.
type stored struct {
	Recipient string `yaml:"recipient" json:"recipient"`
	FP        string `yaml:"fp" json:"fp"`
	ARN       string `yaml:"arn" json:"arn"`
	Resource  string `yaml:"resource_id" json:"resource_id"`
	KeyID     string `yaml:"key_id" json:"key_id"`
	VaultURL  string `yaml:"vault_url" json:"vault_url"`
	Name      string `yaml:"name" json:"name"`
	Address   string `yaml:"vault_address" json:"vault_address"`
	Engine    string `yaml:"engine_path" json:"engine_path"`
	KeyName   string `yaml:"key_name" json:"key_name"`
}

func (s storedGroup) group() Group {
	var g Group
	for _, kind := range []struct {
		list []stored
		form func(stored) string
	}{
		{s.Age, func(k stored) string { return ageForm(k.Recipient) }},
		{s.PGP, func(k stored) string { return pgpForm(k.FP) }},
		{s.KMS, func(k stored) string { return kmsForm(k.ARN) }},
		{s.GCP, func(k stored) string { return gcpForm(k.Resource) }},
		{s.Huawei, func(k stored) string { return huaweiForm(k.KeyID) }},
		{s.Azure, func(k stored) string { return azureForm(k.VaultURL, k.Name) }},
		{s.Vault, func(k stored) string {
			return vaultForm(strings.TrimRight(k.Address, "/") + "/v1/" + strings.Trim(k.Engine, "/") + "/keys/" + k.KeyName)
		}},
	} {
		for _, key := range kind.list {
			g = append(g, kind.form(key))
		}
	}
	return g
}

func (b block) recipients() Recipients {
	groups := []Group{b.group()}
	if len(b.KeyGroups) > 0 {
		groups = nil
		for _, g := range b.KeyGroups {
			groups = append(groups, g.group())
		}
	}
	return newRecipients(groups, b.Threshold)
}

// OfBlock reads the sops block of a YAML file. It returns false if the block is unreadable, which is reported
// elsewhere.
func OfBlock(sops *yaml.Node) (Recipients, bool) {
	var b block
	if sops == nil || sops.Decode(&b) != nil {
		return Recipients{}, false
	}
	r := b.recipients()
	return r, !r.Empty()
}

// OfFile reads the recipients of an encrypted file in any of sops' formats: YAML, JSON (which wraps files of any kind), env
// and ini.
func OfFile(data []byte) (Recipients, bool) {
	var wrapped struct {
		SOPS block `json:"sops"`
	}
	if json.Unmarshal(data, &wrapped) == nil {
		r := wrapped.SOPS.recipients()
		return r, !r.Empty()
	}
	if sops := firstBlock(data); sops != nil {
		return OfBlock(sops)
	}
	r := flattened(data).recipients()
	return r, !r.Empty()
}

// firstBlock returns the first sops block of the documents of a YAML file, or nil. sops writes the same one into each.
func firstBlock(data []byte) *yaml.Node {
	for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var document struct {
			SOPS yaml.Node `yaml:"sops"`
		}
		switch err := decoder.Decode(&document); {
		case document.SOPS.Kind == yaml.MappingNode:
			return &document.SOPS
		case err != nil && !isTypeError(err):
			return nil
		}
	}
}

// isTypeError reports whether a document is valid YAML, but no mapping.
func isTypeError(err error) bool {
	_, ok := errors.AsType[*yaml.TypeError](err)
	return ok
}

// flatKey matches an item of the block in formats without lists and mappings, with or without a key group.
var flatKey = regexp.MustCompile(`^(?:sops_)?(?:key_groups__list_(\d+)__map_)?(age|pgp|kms|gcp_kms|hckms|azure_kv|hc_vault)__list_(\d+)__map_([a-z_]+)\s*=\s*(.*)$`)

// flatThreshold matches the threshold in these formats.
var flatThreshold = regexp.MustCompile(`^(?:sops_)?shamir_threshold\s*=\s*"?(\d+)"?\s*$`)

// flattened rebuilds the block of an env or ini file.
func flattened(data []byte) block {
	items := map[[3]string]map[string]string{} // group, kind, index
	var b block
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if m := flatThreshold.FindStringSubmatch(line); m != nil {
			if n, err := strconv.Atoi(m[1]); err == nil {
				b.Threshold = n
			}
		}
		if m := flatKey.FindStringSubmatch(line); m != nil {
			key := [3]string{m[1], m[2], m[3]}
			if items[key] == nil {
				items[key] = map[string]string{}
			}
			items[key][m[4]] = strings.Trim(m[5], `"`)
		}
	}
	groups := map[string]map[string][]map[string]string{}
	for key, item := range items {
		if groups[key[0]] == nil {
			groups[key[0]] = map[string][]map[string]string{}
		}
		groups[key[0]][key[1]] = append(groups[key[0]][key[1]], item)
	}
	for _, number := range slices.Sorted(maps.Keys(groups)) {
		var g storedGroup
		text, err := json.Marshal(groups[number])
		if err != nil || json.Unmarshal(text, &g) != nil {
			continue
		}
		if number == "" {
			b.storedGroup = g
			continue
		}
		b.KeyGroups = append(b.KeyGroups, g)
	}
	return b
}
