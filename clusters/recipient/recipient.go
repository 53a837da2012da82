// Package recipient compares the recipients of encrypted files with the rules in .sops.yaml.
//
// Recipients are public: age recipients, fingerprints, and the names of keys in a KMS. The package takes bytes and
// returns values. It decrypts nothing, and unlike sops' own configuration package it asks no key service and reads no
// environment. Rules have the same meaning as in that package
// (https://getsops.io/docs/#using-sopsyaml-conf-to-select-kms-pgp-and-age-for-new-files).
package recipient

import (
	"slices"
	"strings"
)

// Recipients are the key groups of a file or a rule, and how many of them are needed to decrypt the file.
type Recipients struct {
	// Groups hold recipients in their normal form, sorted and without duplicates.
	Groups []Group
	// Threshold is never 0: without one, sops requires all groups.
	Threshold int
}

// Group is a set of recipients, each of which can decrypt the same share of the data key.
type Group []string

// Empty reports whether there are no recipients.
func (r Recipients) Empty() bool {
	return !slices.ContainsFunc(r.Groups, func(g Group) bool { return len(g) > 0 })
}

// All returns the recipients of all groups, sorted.
func (r Recipients) All() []string {
	all := slices.Concat(r.Groups...)
	slices.Sort(all)
	return slices.Compact(all)
}

// newRecipients brings groups into their normal form.
func newRecipients(groups []Group, threshold int) Recipients {
	var r Recipients
	for _, g := range groups {
		slices.Sort(g)
		if g = slices.Compact(g); len(g) > 0 {
			r.Groups = append(r.Groups, g)
		}
	}
	slices.SortFunc(r.Groups, slices.Compare)
	if r.Threshold = threshold; threshold <= 0 {
		r.Threshold = len(r.Groups)
	}
	return r
}

// Difference is how a file differs from its rule.
type Difference struct {
	// Missing should be able to decrypt the file and can't. Extra can and shouldn't.
	Missing, Extra []string
	// Grouped is true if the recipients are right, but in other groups.
	Grouped bool
	// Threshold and Wanted are how many groups the file and the rule require, if these differ, or else 0.
	Threshold, Wanted int
}

// Compare returns how a file's recipients differ from its rule's.
func Compare(file, rule Recipients) Difference {
	var d Difference
	have, want := file.All(), rule.All()
	d.Missing = without(want, have)
	d.Extra = without(have, want)
	if len(d.Missing)+len(d.Extra) > 0 {
		return d
	}
	d.Grouped = !slices.EqualFunc(file.Groups, rule.Groups, func(a, b Group) bool {
		return len(without(a, b))+len(without(b, a)) == 0
	})
	if !d.Grouped && len(rule.Groups) > 1 && file.Threshold != rule.Threshold {
		d.Threshold, d.Wanted = file.Threshold, rule.Threshold
	}
	return d
}

// without returns the elements of list that aren't in others.
func without(list, others []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(r string) bool {
		return slices.ContainsFunc(others, func(o string) bool { return same(r, o) })
	})
}

// shortID is the length of the shortest end of a fingerprint that identifies a PGP key.
const shortID = 16

// same compares normal forms. A PGP key may be named by the end of its fingerprint.
func same(a, b string) bool {
	if a == b {
		return true
	}
	a, isPGP := strings.CutPrefix(a, pgpPrefix)
	b, isToo := strings.CutPrefix(b, pgpPrefix)
	return isPGP && isToo && min(len(a), len(b)) >= shortID && (strings.HasSuffix(a, b) || strings.HasSuffix(b, a))
}

// Normal forms begin with the kind of key, except for age recipients, which are recognisable anyway.
const pgpPrefix = "PGP "

// ageForm drops the comment of an SSH key.
func ageForm(text string) string {
	fields := strings.Fields(text)
	if len(fields) > 2 {
		fields = fields[:2]
	}
	return strings.Join(fields, " ")
}

func pgpForm(fingerprint string) string {
	text := strings.ToUpper(strings.Join(strings.Fields(fingerprint), ""))
	return pgpPrefix + strings.TrimPrefix(text, "0X")
}

// kmsForm drops the role for using a key.
func kmsForm(arn string) string {
	arn, _, _ = strings.Cut(strings.TrimSpace(arn), "+")
	return "AWS KMS " + arn
}

func gcpForm(resource string) string { return "GCP KMS " + strings.TrimSpace(resource) }

func huaweiForm(id string) string { return "HuaweiCloud KMS " + strings.TrimSpace(id) }

// azureForm drops the version: sops uses the newest if a rule has none.
func azureForm(url, key string) string {
	return "Azure Key Vault " + strings.TrimRight(strings.TrimSpace(url), "/") + "/keys/" + key
}

func azureURI(uri string) string {
	vault, key, _ := strings.Cut(uri, "/keys/")
	key, _, _ = strings.Cut(key, "/")
	return azureForm(vault, key)
}

func vaultForm(uri string) string {
	return "Vault " + strings.TrimRight(strings.TrimSpace(uri), "/")
}
