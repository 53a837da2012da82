package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/recipient"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// keys checks the decryption keys of an AuditSync, and compares them with the recipients of the encrypted files. It opens no
// file and asks no key service.
func (c *checkup) keys(ctx context.Context, audit *v1alpha1.AuditSync, from *source) []Check {
	valid, opens := audit.Name+": the decryption keys are valid", audit.Name+": the keys open all encrypted files"
	ring, checks := &keys.Ring{}, []Check(nil)
	if d := audit.Spec.Decryption; d != nil {
		data, err := c.secret(ctx, d.SecretRef.Name)
		if err != nil {
			return []Check{c.secretCheck(categoryKeys, valid, d.SecretRef.Name, err)}
		}
		if ring, err = keys.NewRemote(c.Now).Ring(d.SecretRef.Name, data, controllers.KeyPolicy(d)); err != nil {
			return []Check{failed(categoryKeys, valid, err.Error(), fmt.Sprintf("correct it: kubectl -n %s edit secret %s", c.Namespace, d.SecretRef.Name))}
		}
		c.Redactor.Add(ring.Secrets()...)
		checks = []Check{passed(categoryKeys, valid, "Secret "+d.SecretRef.Name)}
	}
	if from.snapshot == nil {
		return append(checks, skipped(categoryKeys, opens, "the repository could not be read"))
	}
	tree, err := load.Load(ctx, from.snapshot.FS(), audit.Spec.Path, load.Limits{}, nil)
	if err != nil {
		return append(checks, skipped(categoryKeys, opens, err.Error()))
	}
	files := map[string]recipient.Recipients{}
	for path, file := range tree.Files {
		if have, encrypted := compile.Recipients(file); encrypted {
			files[path] = have
		}
	}
	return append(checks, recipientsCheck(opens, audit, files, ring.Opens))
}

// recipientsCheck decides from the recipients of each encrypted file which of them the keys open.
func recipientsCheck(name string, audit *v1alpha1.AuditSync, files map[string]recipient.Recipients, opens func(string) bool) Check {
	var closed []string
	wanted := map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if opened(files[path], opens) {
			continue
		}
		closed = append(closed, path)
		for _, group := range files[path].Groups {
			for _, r := range group {
				wanted[recipient.Show(r)] = true
			}
		}
	}
	switch {
	case len(closed) == 0 && len(files) == 0:
		return passed(categoryKeys, name, "no file is encrypted")
	case len(closed) == 0:
		return passed(categoryKeys, name, plural(len(files), "file"))
	case audit.Spec.Decryption == nil:
		return failed(categoryKeys, name, fmt.Sprintf("the AuditSync has no spec.decryption, and %s encrypted: %s", are(len(closed)), some(closed)), "name the Secret with the keys in spec.decryption.secretRef: "+edit(audit))
	}
	return failed(categoryKeys, name, fmt.Sprintf("%s encrypted for none of the keys: %s", are(len(closed)), some(closed)),
		fmt.Sprintf("add the private key of one of these to Secret %s, or encrypt the files for its keys with sops updatekeys: %s", audit.Spec.Decryption.SecretRef.Name, some(slices.Sorted(maps.Keys(wanted)))))
}

func are(n int) string {
	if n == 1 {
		return "1 file is"
	}
	return fmt.Sprintf("%d files are", n)
}

// opened reports whether the keys reach as many groups as are needed.
func opened(r recipient.Recipients, opens func(string) bool) bool {
	reached := 0
	for _, group := range r.Groups {
		if slices.ContainsFunc(group, opens) {
			reached++
		}
	}
	return reached >= r.Threshold
}
