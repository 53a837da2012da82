package controllers

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-gitops/muster/clusters/inventory"
)

func stored(t *testing.T, uid, version, auditConfig string) corev1.ConfigMap {
	t.Helper()
	data, err := (&inventory.Inventory{Sync: "s", AuditConfig: auditConfig, Origin: "f.yaml"}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	return corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), ResourceVersion: version}, BinaryData: map[string][]byte{inventory.DataKey: data}}
}

func TestInventoriesAreUnpackedOnce(t *testing.T) {
	var i inventories
	damaged := corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{UID: "d", ResourceVersion: "1"}}
	first := i.decode("n", []corev1.ConfigMap{stored(t, "a", "1", "one"), damaged, stored(t, "b", "1", "two")})
	if first[0].inventory.AuditConfig != "one" || first[1].err == nil || first[2].inventory.AuditConfig != "two" {
		t.Fatalf("%+v", first)
	}
	second := i.decode("n", []corev1.ConfigMap{stored(t, "a", "1", "unread"), stored(t, "b", "2", "changed"), stored(t, "c", "1", "another")})
	if second[0].inventory != first[0].inventory {
		t.Error("what has not changed was unpacked again")
	}
	if second[1].inventory.AuditConfig != "changed" || second[2].inventory.AuditConfig != "another" {
		t.Errorf("%+v", second)
	}
	if got := len(i.byNamespace["n"]); got != 3 {
		t.Errorf("%d are kept: the deleted one should be forgotten", got)
	}
	// One of the same name that is made anew counts from the start, whatever its version.
	if again := i.decode("n", []corev1.ConfigMap{stored(t, "a2", "1", "anew")}); again[0].inventory.AuditConfig != "anew" {
		t.Errorf("%+v", again)
	}
	if i.decode("n", nil); len(i.byNamespace) != 0 {
		t.Errorf("kept of a namespace without any: %v", i.byNamespace)
	}
}

func TestKeepAuthors(t *testing.T) {
	entry := func(manager string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, FieldsV1: metav1.NewFieldsV1(`{"f:data":{}}`)}
	}
	own := func(manager string) metav1.ManagedFieldsEntry { return metav1.ManagedFieldsEntry{Manager: manager} }
	for _, test := range []struct {
		reason     string
		have, want []metav1.ManagedFieldsEntry
	}{
		{"somebody else's Secret never drifts", []metav1.ManagedFieldsEntry{entry("helm")}, nil},
		{"of Muster's own, that it is there", []metav1.ManagedFieldsEntry{entry("muster")}, []metav1.ManagedFieldsEntry{own("muster")}},
		{"who else has changed it", []metav1.ManagedFieldsEntry{entry("muster"), entry("kubectl-edit")}, []metav1.ManagedFieldsEntry{own("muster"), entry("kubectl-edit")}},
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{ManagedFields: test.have}}
		for range 2 { // informers may hand in what was transformed before
			object, err := keepAuthors(secret)
			if err != nil || !reflect.DeepEqual(object.(*corev1.Secret).ManagedFields, test.want) {
				t.Errorf("%s: %+v", test.reason, secret.ManagedFields)
			}
		}
	}
	if object, err := keepAuthors("deleted"); err != nil || object != "deleted" {
		t.Error("what is no Secret should come back as it is")
	}
}
