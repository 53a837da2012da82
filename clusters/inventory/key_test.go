package inventory

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// TestStoredKeys: the stored form is a contract with inventories of earlier versions, and approvals are computed from it.
func TestStoredKeys(t *testing.T) {
	for _, row := range []struct {
		key  Key
		text string
	}{
		{ClusterKey(Cluster{"mondoo-client", "eu"}), "cluster/mondoo-client/eu"},
		{ClusterKey(Cluster{"mondoo-client", "made/by/hand"}), "cluster/mondoo-client/made/by/hand"},
		{ClusterKey(Cluster{"mondoo-client", ""}), "cluster/mondoo-client/"},
		{SecretKey("token"), "secret//token"},
		{AuditConfigKey("mondoo-client"), "auditconfig/mondoo-client"},
		{Key{MoveCluster, Cluster{"old", "eu"}, "new,newer"}, "move/old/eu/new,newer"},
	} {
		data, err := json.Marshal([]Key{row.key})
		if err != nil || string(data) != `["`+row.text+`"]` {
			t.Errorf("%s is stored as %s, %v", row.text, data, err)
		}
		var back []Key
		if err := json.Unmarshal(data, &back); err != nil || !slices.Equal(back, []Key{row.key}) {
			t.Errorf("%s is read as %+v, %v", row.text, back, err)
		}
	}
	for _, text := range []string{"", "/", "x", "move", "move/a", "auditconfig/a/b", "later/a/b/c"} {
		var key Key
		if err := key.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		again := key
		if err := again.UnmarshalText([]byte(key.String())); err != nil || again != key {
			t.Errorf("%q is read as %+v, and then as %+v", text, key, again)
		}
		for _, made := range []Key{ClusterKey(Cluster{"a", "b"}), SecretKey("a"), AuditConfigKey("a")} {
			if key == made {
				t.Errorf("%q approves %v", text, made)
			}
		}
	}
}

// TestKeysInOrder: the order is that of the stored form, from which approvals are computed.
func TestKeysInOrder(t *testing.T) {
	keys := []Key{SecretKey("a"), ClusterKey(Cluster{"m", "a"}), AuditConfigKey("z"), {MoveCluster, Cluster{"m", "a"}, "n"}}
	slices.SortFunc(keys, Key.Compare)
	for i := range keys[1:] {
		if keys[i].String() >= keys[i+1].String() {
			t.Errorf("%v is before %v", keys[i], keys[i+1])
		}
	}
}

// TestApprovalValue: a value that was given to an earlier version still approves the same removals.
func TestApprovalValue(t *testing.T) {
	keys := []Key{AuditConfigKey("m"), ClusterKey(Cluster{"m", "eu"})}
	value := ApprovalValue("abc-1", keys)
	if value != "abc-1-3dd866d4999b00eb" {
		t.Errorf("the value is %s", value)
	}
	for text, revision := range map[string]string{value: "abc-1", value[1:]: "bc-1", value + "0": "", strings.TrimPrefix(value, "abc-1"): "", "": "", "-": "", "abc": ""} {
		if got := ApprovedRevision(text); got != revision {
			t.Errorf("the revision of %q is %q", text, got)
		}
		digest := ""
		if revision != "" {
			digest = "3dd866d4999b00eb"
		}
		if got := ApprovedDigest(text); got != digest {
			t.Errorf("the digest of %q is %q", text, got)
		}
	}
}
