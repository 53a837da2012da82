// Package schema has the JSON Schemas of what a team writes into Git, for editors, and the line of a file that names one.
//
// The files beside it are generated: make generate writes them. They are published where [Schema.URL] says, under the tag of
// the release, so a released version and its URL have the same text.
package schema

import (
	"embed"
	"regexp"
)

//go:embed *.json
var files embed.FS

// Schema is the JSON Schema of a kind.
type Schema struct {
	// Kind is the kind of the objects that it describes, such as ExternalCluster.
	Kind string
	file string
}

// The schemas, in draft 7, which is the newest that the YAML language server supports.
var (
	ExternalCluster = Schema{"ExternalCluster", "externalcluster.json"}
	AuditSync       = Schema{"AuditSync", "auditsync.json"}
)

// All returns all schemas.
func All() []Schema { return []Schema{ExternalCluster, AuditSync} }

// Text returns the schema.
func (s Schema) Text() []byte {
	text, err := files.ReadFile(s.file)
	if err != nil {
		panic(err) // it is embedded
	}
	return text
}

// home is where Git has this folder, below a tag or a branch.
const home = "https://raw.githubusercontent.com/muster-gitops/muster/"

// release matches the tag of a release. git describe names other commits v1.2.3-4-gabcdef0.
var release = regexp.MustCompile(`^v\d+\.\d+\.\d+(-(alpha|beta|rc)\.?\d+)?$`)

// IsRelease reports whether a version is that of a release, which has its own URL.
func IsRelease(version string) bool { return release.MatchString(version) }

// URL returns the address of the schema of a version, such as v1.2.3. Any other build has the address of the main branch.
func (s Schema) URL(version string) string {
	if !IsRelease(version) {
		version = "main"
	}
	return home + version + "/config/schema/" + s.file
}

// Header returns the first line of a file, without a line end, by which editors with the YAML language server find the schema.
func (s Schema) Header(version string) string { return s.HeaderFor(s.URL(version)) }

// HeaderFor returns the line for another place of the schema: a URL, or a path relative to the file.
func (s Schema) HeaderFor(place string) string { return "# yaml-language-server: $schema=" + place }
