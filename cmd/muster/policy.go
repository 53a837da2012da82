package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// Bounds for the search for AuditSyncs in a repository.
const (
	maxManifest = 1 << 20
	maxSearched = 100_000 // files
)

func (f *fleetFlags) addPolicy(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.policy, "policy", "", "`file` with the AuditSync whose policy applies (default: the AuditSync in the repository with this path)")
}

// policyFor is what the AuditSync of a path allows: the one of --policy, or one in the repository. It replaces the AuditSync
// in the management cluster, which is the only one that counts for the controller. If several have the path, only what all
// of them allow is allowed. The zero value allows nothing.
func (f *fleetFlags) policyFor(t *target) (policy.Policy, error) {
	syncs, err := f.manifests(t)
	if err != nil {
		return policy.Policy{}, err
	}
	var matching []manifest
	nearest := -1
	for _, m := range syncs {
		depth := m.depthOf(t.path)
		if f.policy != "" && len(syncs) == 1 {
			depth = 0 // the rendered folder may be a copy in another place
		}
		switch {
		case depth < 0 || depth < nearest || f.sync != "" && m.Name != f.sync:
			continue
		case depth > nearest:
			matching, nearest = nil, depth
		}
		matching = append(matching, m)
	}
	if len(matching) == 0 && f.policy != "" {
		return policy.Policy{}, usagef("--policy %s: none of its %s has the path %s", f.policy, plural(len(syncs), "AuditSync"), t.path)
	}
	return commonPolicy(matching, syncs), nil
}

// commonPolicy is what all of these AuditSyncs allow.
func commonPolicy(syncs, all []manifest) policy.Policy {
	var both policy.Policy
	for i, m := range syncs {
		p := m.policy(all)
		if i == 0 {
			both = p
			continue
		}
		both.Source += " and " + p.Source
		both.Allow = slices.DeleteFunc(both.Allow, func(entry string) bool { return !slices.Contains(p.Allow, entry) })
		both.Credentials = both.Credentials.Common(p.Credentials)
		both.VaultAddresses = slices.DeleteFunc(both.VaultAddresses, func(address string) bool { return !slices.Contains(p.VaultAddresses, address) })
		maps.Copy(both.Reserved, p.Reserved)
	}
	return both
}

// manifest is an AuditSync in a file.
type manifest struct {
	v1alpha1.AuditSync
	file string
	// inside reports whether the file is in the repository that is rendered.
	inside bool
}

// tops are the folders that spec.path may name. The nearest to the manifest comes first. spec.path is relative to the root
// of the repository, or to a folder above the manifest, because the rendered repository may be part of a larger one.
func (m manifest) tops() []string {
	var tops []string
	for root := path.Dir(m.file); ; root = path.Dir(root) {
		if !m.inside {
			root = "."
		}
		tops = append(tops, path.Join(root, m.Spec.Path))
		if root == "." || root == "/" {
			return tops
		}
	}
}

// depthOf is the depth of the AuditSync's folder that contains a folder. It is negative if none does.
func (m manifest) depthOf(folder string) int {
	depth := -1
	for _, top := range m.tops() {
		if within(folder, top) {
			depth = max(depth, strings.Count("/"+strings.TrimPrefix(top, "."), "/"))
		}
	}
	return depth
}

// within reports whether name is folder or is inside it.
func within(name, folder string) bool {
	return folder == "." || name == folder || strings.HasPrefix(name, folder+"/")
}

// policy is what the AuditSync allows, given the other AuditSyncs in its namespace.
func (m manifest) policy(all []manifest) policy.Policy {
	var siblings []v1alpha1.AuditSync
	for _, other := range all {
		if other.Namespace == m.Namespace {
			siblings = append(siblings, other.AuditSync)
		}
	}
	p := controllers.Allowed(&m.AuditSync, siblings)
	p.Source += " (" + m.file + ")"
	return p
}

// manifests are the AuditSyncs of --policy, or those of the repository.
func (f *fleetFlags) manifests(t *target) ([]manifest, error) {
	if f.policy == "" {
		return auditSyncsIn(t.fs), nil
	}
	data, err := os.ReadFile(f.policy)
	if err != nil {
		return nil, fmt.Errorf("read --policy: %w", err)
	}
	list, err := auditSyncsOf(f.policy, data, false, yaml.UnmarshalStrict)
	if err == nil && len(list) == 0 {
		err = errors.New("the file contains no AuditSync")
	}
	if err != nil {
		return nil, fmt.Errorf("read --policy %s: %w", f.policy, err)
	}
	return list, nil
}

// auditSyncsIn finds the AuditSyncs of a repository. Unreadable files are skipped: they may belong to another tool.
func auditSyncsIn(repository fs.FS) []manifest {
	var list []manifest
	manifestsIn(repository, ".", kindAuditSync, func(name string, data []byte) {
		syncs, _ := auditSyncsOf(name, data, true, yaml.Unmarshal)
		list = append(list, syncs...)
	})
	return list
}

// manifestsIn calls visit for each YAML file below a folder that contains a word.
func manifestsIn(repository fs.FS, dir, word string, visit func(name string, data []byte)) {
	searched := 0
	_ = fs.WalkDir(repository, dir, func(name string, d fs.DirEntry, err error) error {
		switch ext := path.Ext(name); {
		case err != nil:
			return nil //nolint:nilerr // unreadable files are skipped
		case d.IsDir() && name != dir && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case searched == maxSearched:
			return fs.SkipAll
		case !d.Type().IsRegular() || ext != ".yaml" && ext != ".yml":
			return nil
		}
		searched++
		if info, err := d.Info(); err != nil || info.Size() > maxManifest {
			return nil //nolint:nilerr // likewise
		}
		if data, err := fs.ReadFile(repository, name); err == nil && bytes.Contains(data, []byte(word)) {
			visit(name, data)
		}
		return nil
	})
}

const kindAuditSync = "AuditSync"

// auditSyncsOf are the AuditSyncs among the documents of a file, up to the first unreadable document.
func auditSyncsOf(file string, data []byte, inside bool, unmarshal func([]byte, any, ...yaml.JSONOpt) error) ([]manifest, error) {
	var list []manifest
	for document, err := range documents(data, kindAuditSync) {
		if err != nil {
			return list, err
		}
		m := manifest{file: file, inside: inside}
		if err := unmarshal(document, &m.AuditSync); err != nil {
			return list, err
		}
		m.Spec.Path = cmp.Or(m.Spec.Path, "./")
		list = append(list, m)
	}
	return list, nil
}

// documents are the documents of a file that have one of Muster's kinds, up to the first unreadable document.
func documents(data []byte, kind string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
			document, err := reader.Read()
			if errors.Is(err, io.EOF) {
				return
			}
			var meta struct{ APIVersion, Kind string }
			if err == nil {
				err = yaml.Unmarshal(document, &meta)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if meta.Kind == kind && meta.APIVersion == v1alpha1.GroupVersion.String() && !yield(document, nil) {
				return
			}
		}
	}
}
