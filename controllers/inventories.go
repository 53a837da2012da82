package controllers

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-gitops/muster/clusters/inventory"
)

// inventories caches the decoded inventories of each namespace. Decoding the inventory of a large fleet takes longer than planning. The
// zero value is ready for use.
type inventories struct {
	mu          sync.Mutex
	byNamespace map[string]map[types.UID]unpacked
}

type unpacked struct {
	resourceVersion string
	inventory       *inventory.Inventory
	err             error
}

// decode decodes the ConfigMaps of a namespace, in their order, and drops others of that namespace from the cache. Callers must not
// modify the result, which is shared.
func (i *inventories) decode(namespace string, configMaps []corev1.ConfigMap) []unpacked {
	i.mu.Lock()
	known := i.byNamespace[namespace]
	i.mu.Unlock()
	list, now := make([]unpacked, 0, len(configMaps)), make(map[types.UID]unpacked, len(configMaps))
	for _, c := range configMaps {
		u, ok := known[c.UID]
		if !ok || u.resourceVersion != c.ResourceVersion {
			u = unpacked{resourceVersion: c.ResourceVersion}
			if u.inventory, u.err = inventory.Decode(c.BinaryData[inventory.DataKey]); u.err == nil {
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
