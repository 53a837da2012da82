package controllers

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-gitops/muster/clusters/plan"
)

// inventories keeps what the ConfigMaps of namespaces hold, unpacked: to unpack the inventory of a large fleet takes longer
// than to plan it. The zero value is ready for use.
type inventories struct {
	mu          sync.Mutex
	byNamespace map[string]map[types.UID]unpacked
}

type unpacked struct {
	resourceVersion string
	inventory       *plan.Inventory
	err             error
}

// decode unpacks the ConfigMaps of a namespace, in their order, and forgets those of it that it isn't given. What it returns
// is shared, and must not be changed.
func (i *inventories) decode(namespace string, configMaps []corev1.ConfigMap) []unpacked {
	i.mu.Lock()
	known := i.byNamespace[namespace]
	i.mu.Unlock()
	list, now := make([]unpacked, 0, len(configMaps)), make(map[types.UID]unpacked, len(configMaps))
	for _, c := range configMaps {
		u, ok := known[c.UID]
		if !ok || u.resourceVersion != c.ResourceVersion {
			u = unpacked{resourceVersion: c.ResourceVersion}
			if u.inventory, u.err = plan.DecodeInventory(c.BinaryData[plan.InventoryKey]); u.err == nil {
				u.inventory.Version = versionOf(&c)
			}
		}
		list, now[c.UID] = append(list, u), u
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.byNamespace == nil {
		i.byNamespace = map[string]map[types.UID]unpacked{}
	}
	i.byNamespace[namespace] = now
	if len(now) == 0 {
		delete(i.byNamespace, namespace)
	}
	return list
}
