package inventory

import "strings"

// Cluster identifies a cluster of an AuditSync. Two audit configs may have clusters of the same name.
type Cluster struct{ AuditConfig, Name string }

// String is "AUDITCONFIG/NAME". Names of audit configs contain no slash.
func (c Cluster) String() string { return c.AuditConfig + "/" + c.Name }

// ParseCluster reads what String returns.
func ParseCluster(text string) Cluster {
	auditConfig, name, _ := strings.Cut(text, "/")
	return Cluster{auditConfig, name}
}

// MarshalText returns String.
func (c Cluster) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is ParseCluster. It accepts any text.
func (c *Cluster) UnmarshalText(text []byte) error {
	*c = ParseCluster(string(text))
	return nil
}

// Kind is the kind of removal that a Key identifies.
type Kind string

// The kinds of removals.
const (
	RemoveCluster     Kind = "cluster"
	RemoveSecret      Kind = "secret"
	RemoveAuditConfig Kind = "auditconfig"
	MoveCluster       Kind = "move" // out of an audit config that is removed
)

// Key identifies a removal in an approval.
type Key struct {
	Kind Kind
	// Cluster is the cluster of RemoveCluster and MoveCluster. RemoveSecret has only its Name, and RemoveAuditConfig
	// only its AuditConfig.
	Cluster
	// Targets are the audit configs that MoveCluster moves to, sorted and joined with commas.
	Targets string
}

// ClusterKey identifies the removal of a cluster from an audit config.
func ClusterKey(cluster Cluster) Key { return Key{Kind: RemoveCluster, Cluster: cluster} }

// SecretKey identifies the removal of a Secret that belongs to no cluster.
func SecretKey(name string) Key { return Key{Kind: RemoveSecret, Cluster: Cluster{Name: name}} }

// AuditConfigKey identifies the removal of an audit config.
func AuditConfigKey(name string) Key {
	return Key{Kind: RemoveAuditConfig, Cluster: Cluster{AuditConfig: name}}
}

// String is the stored form, which approvals depend on.
func (k Key) String() string {
	switch k.Kind {
	case RemoveAuditConfig:
		return string(k.Kind) + "/" + k.AuditConfig
	case MoveCluster:
		return string(k.Kind) + "/" + k.Cluster.String() + "/" + k.Targets
	default:
		return string(k.Kind) + "/" + k.Cluster.String()
	}
}

// Compare orders keys by their stored form.
func (k Key) Compare(other Key) int { return strings.Compare(k.String(), other.String()) }

// MarshalText returns String.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what String returns. It accepts any text: a key of an unknown kind approves nothing.
func (k *Key) UnmarshalText(text []byte) error {
	kind, rest, _ := strings.Cut(string(text), "/")
	*k = Key{Kind: Kind(kind), Cluster: ParseCluster(rest)}
	switch k.Kind {
	case RemoveAuditConfig:
		k.Cluster = Cluster{AuditConfig: rest}
	case MoveCluster:
		k.Name, k.Targets, _ = strings.Cut(k.Name, "/")
	}
	return nil
}
