package setup

import (
	"bytes"
	"fmt"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const (
	// scanRole is the name that Mondoo's console gives to the ClusterRole.
	scanRole = "mondoo-operator-k8s-resources-scanning"
	// scanNamespace and scanner are a namespace and a ServiceAccount of the target, where the method needs one.
	scanNamespace = "mondoo-scan"
	scanner       = "mondoo-scanner"
)

// user returns the subject of a binding. A ServiceAccount is one too, by its user name.
func user(name text) rbacv1.Subject {
	return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name.yaml()}
}

func account(namespace, name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}
}

const scanNote = "The right includes Secrets. With the built-in role view instead, scans miss Secrets, nodes, RBAC objects and most custom resources."

// grant adds the step that lets a subject read the target, after the objects that it needs there.
func (s *Setup) grant(subject rbacv1.Subject, note string, before ...any) {
	role := &rbacv1.ClusterRole{TypeMeta: typeMeta(rbacv1.SchemeGroupVersion.String(), "ClusterRole"), ObjectMeta: metav1.ObjectMeta{Name: scanRole},
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}}}}
	// One binding a cluster file, so that a second management cluster doesn't take the right from the first one.
	binding := &rbacv1.ClusterRoleBinding{TypeMeta: typeMeta(rbacv1.SchemeGroupVersion.String(), "ClusterRoleBinding"),
		ObjectMeta: metav1.ObjectMeta{Name: scanRole + "-" + s.Cluster},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: scanRole}, Subjects: []rbacv1.Subject{subject}}
	s.manifest = manifest(append(before, role, binding))
	s.step(Target, "Let the scanner read all objects", strings.TrimSpace(note+" "+scanNote), sh("kubectl --context=%s apply -f - <<EOF", s.targetContext())+"\n"+s.heredoc(s.manifest)+"EOF")
}

func typeMeta(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

// namespaceObject and accountObject have no empty spec and status, as the types of their kinds would.
func namespaceObject(name string) any {
	return &metav1.PartialObjectMetadata{TypeMeta: typeMeta("v1", "Namespace"), ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func accountObject(namespace, name string) any {
	return &metav1.PartialObjectMetadata{TypeMeta: typeMeta("v1", "ServiceAccount"), ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

// RBAC returns the objects that the target must have, as YAML. A variable has the form ${NAME}, and a comment explains
// it. It is empty if the entry has no method.
func (s Setup) RBAC() []byte {
	var b bytes.Buffer
	for _, v := range s.Variables {
		if strings.Contains(s.manifest, placeholder(v.Name)) {
			fmt.Fprintf(&b, "# %s: %s\n", strings.ToUpper(v.Name), v.Meaning)
		}
	}
	b.WriteString(s.manifest)
	return b.Bytes()
}

func placeholder(variable string) string { return text{{variable: variable}}.yaml() }

func manifest(objects []any) string {
	var b strings.Builder
	for _, object := range objects {
		document, err := yaml.Marshal(object)
		if err != nil {
			panic(fmt.Sprintf("setup: %T can't be written as YAML", object)) // structs of strings never fail
		}
		b.WriteString("---\n")
		b.Write(document)
	}
	return b.String()
}

// heredoc returns a manifest as a document in a shell script, in which only the variables are expanded.
func (s *Setup) heredoc(manifest string) string {
	escaped := strings.NewReplacer(`\`, `\\`, "$", `\$`, "`", "\\`").Replace(manifest)
	for _, v := range s.Variables {
		name := placeholder(v.Name)
		escaped = strings.ReplaceAll(escaped, `\`+name, strings.TrimSuffix(name, "}")+":?}")
	}
	return escaped
}
