// Package recipient tells for whom files are encrypted, and for whom .sops.yaml says they should be.
//
// Recipients are public: age recipients, fingerprints, and the names of keys in a KMS. The package takes bytes and returns
// values; it opens nothing, asks no key service and reads no environment, which the configuration package of the sops
// library does. It follows that package in what a rule means (https://getsops.io/docs/#using-sopsyaml-conf-to-select-kms-pgp-and-age-for-new-files).
package recipient

import (
	"slices"
	"strings"
)

// Recipients are the key groups of a file or a rule, and how many of them it takes to open the file.
type Recipients struct {
	// Groups hold normal forms, sorted, each once.
	Groups []Group
	// Threshold is never 0: without one, sops wants all groups.
	Threshold int
}

// Group is a set of recipients, each of which gives the same share of the data key.
type Group []string

// Empty says that there is no recipient at all.
func (r Recipients) Empty() bool {
	return !slices.ContainsFunc(r.Groups, func(g Group) bool { return len(g) > 0 })
}

// all are the recipients of all groups, sorted.
func (r Recipients) all() []string {
	all := slices.Concat(r.Groups...)
	slices.Sort(all)
	return slices.Compact(all)
}

// newRecipients brings groups into their one form.
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

// Difference is how a file departs from its rule.
type Difference struct {
	// Missing should be able to open the file and can't, Extra can and should not.
	Missing, Extra []string
	// Grouped says that the recipients are right, and stand in other groups.
	Grouped bool
	// Threshold and Wanted are the numbers of groups that open the file, where they differ; else 0.
	Threshold, Wanted int
}

// None says that there is no difference.
func (d Difference) None() bool {
	return len(d.Missing)+len(d.Extra)+d.Wanted == 0 && !d.Grouped
}

// Compare says how a file's recipients depart from those that it should have.
func Compare(file, rule Recipients) Difference {
	var d Difference
	have, want := file.all(), rule.all()
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

// without are those of list that others doesn't have.
func without(list, others []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(r string) bool {
		return slices.ContainsFunc(others, func(o string) bool { return same(r, o) })
	})
}

// same compares normal forms. A PGP key may be named by the end of its fingerprint.
func same(a, b string) bool {
	if a == b {
		return true
	}
	a, isPGP := strings.CutPrefix(a, pgpPrefix)
	b, isToo := strings.CutPrefix(b, pgpPrefix)
	const shortID = 16
	return isPGP && isToo && min(len(a), len(b)) >= shortID && (strings.HasSuffix(a, b) || strings.HasSuffix(b, a))
}

// Normal forms begin with what kind of key it is, except for age recipients, which say so themselves.
const pgpPrefix = "PGP "

// ageForm drops the comment behind an SSH key.
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

// kmsForm drops the role by which a key is reached.
func kmsForm(arn string) string {
	arn, _, _ = strings.Cut(strings.TrimSpace(arn), "+")
	return "AWS KMS " + arn
}

func gcpForm(resource string) string { return "GCP KMS " + strings.TrimSpace(resource) }

func huaweiForm(id string) string { return "HuaweiCloud KMS " + strings.TrimSpace(id) }

// azureForm leaves the version out: sops fills in the newest when a rule has none.
func azureForm(url, key string) string {
	return "Azure Key Vault " + strings.TrimRight(strings.TrimSpace(url), "/") + "/keys/" + key
}

func vaultForm(uri string) string {
	return "Vault " + strings.TrimRight(strings.TrimSpace(uri), "/")
}

// maxShown is what of a recipient is printed. Those of post-quantum age keys have some 2,000 characters.
const maxShown = 72

// Show is a recipient as it may be printed. A file can hold anything in the place of one, a private key or a password too.
func Show(recipient string) string {
	strange := strings.ContainsFunc(recipient, func(c rune) bool { return c < ' ' || c > '~' }) || strings.ContainsAny(recipient, "@?#")
	kind := "an unreadable recipient"
	for _, prefix := range []string{"age1", "ssh-", pgpPrefix, "AWS KMS ", "GCP KMS ", "HuaweiCloud KMS ", "Azure Key Vault ", "Vault "} {
		if strings.HasPrefix(recipient, prefix) {
			kind = prefix
		}
	}
	switch {
	case kind == "an unreadable recipient":
		return kind
	case strange:
		return "an unreadable recipient (" + strings.TrimSpace(kind) + ")"
	case len(recipient) > maxShown:
		return recipient[:maxShown] + "…"
	}
	return recipient
}
