package setup

import (
	"bytes"
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	rbacv1 "k8s.io/api/rbac/v1"
)

// block is a block of Terraform configuration, with attributes and blocks in it.
type block struct {
	kind   string
	labels []string
	items  []any
}

// attr is an attribute. Its value is a text, a list of values, or one of the types below.
type attr struct {
	name  string
	value any
}

type (
	expression string // an expression of Terraform, never a value of the repository
	object     []field
	jsonencode []field // an object as JSON text
)

// field is a field of an object.
type field struct {
	key   text
	value any
}

// Terraform returns the setup as a module: variables and what they are for, then resources. The provider kubernetes is that
// of the target, and kubernetes.management that of the management cluster.
func (s Setup) Terraform() []byte {
	resources := write(s.blocks)
	var variables []block
	for _, v := range s.Variables {
		if bytes.Contains(resources, []byte("var."+v.Name)) {
			variables = append(variables, v.block())
		}
	}
	if len(variables) == 0 {
		return resources
	}
	return slices.Concat(write(variables), []byte("\n"), resources)
}

func write(blocks []block) []byte {
	file := hclwrite.NewEmptyFile()
	for i, b := range blocks {
		if i > 0 {
			file.Body().AppendNewline()
		}
		b.write(file.Body())
	}
	return hclwrite.Format(file.Bytes())
}

func (v Variable) block() block {
	b := block{kind: "variable", labels: []string{v.Name}, items: []any{attr{"type", expression("string")}, attr{"description", lit(v.Meaning)}}}
	if v.fallback != nil && v.fallback[0].variable == "" {
		b.items = append(b.items, attr{"default", v.fallback})
	}
	return b
}

func (b block) write(body *hclwrite.Body) {
	inner := body.AppendNewBlock(b.kind, b.labels).Body()
	for _, item := range b.items {
		switch item := item.(type) {
		case attr:
			inner.SetAttributeRaw(item.name, tokens(item.value))
		case block:
			item.write(inner)
		}
	}
}

func (s *Setup) resource(kind, name string, items ...any) {
	s.blocks = append(s.blocks, block{kind: "resource", labels: []string{kind, name}, items: items})
}

// tokens returns the source of a value.
func tokens(value any) hclwrite.Tokens {
	switch v := value.(type) {
	case text:
		return v.hcl()
	case expression:
		return hclwrite.TokensForIdentifier(string(v))
	case jsonencode:
		return hclwrite.TokensForFunctionCall("jsonencode", tokens(object(v)))
	case object:
		var attrs []hclwrite.ObjectAttrTokens
		for _, f := range v {
			attrs = append(attrs, hclwrite.ObjectAttrTokens{Name: f.key.hcl(), Value: tokens(f.value)})
		}
		return hclwrite.TokensForObject(attrs)
	case []any:
		var list []hclwrite.Tokens
		for _, item := range v {
			list = append(list, tokens(item))
		}
		return hclwrite.TokensForTuple(list)
	}
	return nil
}

// hcl returns a string, in which variables are interpolated and nothing else is.
func (t text) hcl() hclwrite.Tokens {
	if len(t) == 1 && t[0].variable != "" {
		return hclwrite.TokensForIdentifier("var." + t[0].variable)
	}
	all := hclwrite.Tokens{{Type: hclsyntax.TokenOQuote, Bytes: []byte(`"`)}}
	for _, p := range t {
		if p.variable != "" {
			all = append(all, &hclwrite.Token{Type: hclsyntax.TokenTemplateInterp, Bytes: []byte("${")},
				&hclwrite.Token{Type: hclsyntax.TokenIdent, Bytes: []byte("var." + p.variable)},
				&hclwrite.Token{Type: hclsyntax.TokenTemplateSeqEnd, Bytes: []byte("}")})
			continue
		}
		quoted := hclwrite.TokensForValue(cty.StringVal(p.literal))
		all = append(all, quoted[1:len(quoted)-1]...)
	}
	return append(all, &hclwrite.Token{Type: hclsyntax.TokenCQuote, Bytes: []byte(`"`)})
}

func metadata(name text, namespace ...any) block {
	items := []any{attr{"name", name}}
	for _, value := range namespace {
		items = append(items, attr{"namespace", value})
	}
	return block{kind: "metadata", items: items}
}

func rule(groups, resources []any, more ...any) block {
	return block{kind: "rule", items: append([]any{attr{"api_groups", groups}, attr{"resources", resources}}, more...)}
}

func roleRef(kind string, name any) block {
	return block{kind: "role_ref", items: []any{attr{"api_group", lit(rbacv1.GroupName)}, attr{"kind", lit(kind)}, attr{"name", name}}}
}

// terraformRole lets a user or a group read the target.
func (s *Setup) terraformRole(kind string, name text) {
	s.terraformBinding(block{kind: "subject", items: []any{attr{"api_group", lit(rbacv1.GroupName)}, attr{"kind", lit(kind)}, attr{"name", name}}})
}

func (s *Setup) terraformBinding(subject block) {
	s.resource("kubernetes_cluster_role_v1", "scan", metadata(lit(scanRole)),
		rule([]any{lit("*")}, []any{lit("*")}, attr{"verbs", []any{lit("get"), lit("list"), lit("watch")}}))
	s.resource("kubernetes_cluster_role_binding_v1", "scan", metadata(lit(scanRole+"-"+s.Cluster)),
		roleRef("ClusterRole", expression("kubernetes_cluster_role_v1.scan.metadata[0].name")), subject)
}

// terraformAccount creates the scanner's ServiceAccount, and lets it read the target.
func (s *Setup) terraformAccount(namespace string) {
	s.resource("kubernetes_namespace_v1", "scan", metadata(lit(namespace)))
	s.resource("kubernetes_service_account_v1", "scanner", metadata(lit(scanner), scanNamespaceName))
	s.terraformBinding(terraformSubject("scanner"))
}

const scanNamespaceName = expression("kubernetes_namespace_v1.scan.metadata[0].name")

func terraformSubject(account string) block {
	return block{kind: "subject", items: []any{attr{"kind", lit(rbacv1.ServiceAccountKind)}, attr{"namespace", scanNamespaceName},
		attr{"name", expression("kubernetes_service_account_v1." + account + ".metadata[0].name")}}}
}
