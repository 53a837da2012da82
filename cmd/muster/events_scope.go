package main

import (
	"context"
	"fmt"
	"maps"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// kindSync is the kind of AuditSyncs in events.
const kindSync = "AuditSync"

// kindCluster is the kind of --for that means everything that scans a cluster.
const kindCluster = "cluster"

// kinds are what --for accepts, in lower case, and the kind in events.
var kinds = map[string]string{"auditsync": kindSync, "auditsyncs": kindSync, "auditsync.muster.dev": kindSync,
	"mondooauditconfig": mondoo.Kind, "mondooauditconfigs": mondoo.Kind, "auditconfig": mondoo.Kind,
	"cronjob": "CronJob", "cronjobs": "CronJob", "job": "Job", "jobs": "Job", "pod": "Pod", "pods": "Pod", kindCluster: kindCluster, "clusters": kindCluster}

// wanted are the events that the user asks for. Empty fields mean all.
type wanted struct {
	sync, kind string
	object     struct{ kind, name string }
}

// has reports whether an event is wanted.
func (w wanted) has(in scope, e corev1.Event) bool {
	cluster, ok := in.has(e.InvolvedObject)
	switch {
	case !ok || w.kind != "" && e.Type != w.kind:
		return false
	case w.object.kind == "":
		return true
	case w.object.kind == kindCluster:
		return cluster == w.object.name
	}
	return e.InvolvedObject.Kind == w.object.kind && e.InvolvedObject.Name == w.object.name
}

// scope is what belongs to AuditSyncs.
type scope struct {
	sync string // the only AuditSync, or "" for all
	// configs have the audit configs, and crons the clusters of CronJobs, by namespace and name.
	configs map[[2]string]bool
	crons   map[[2]string]string
	// foreign are scanning objects that belong to none of the AuditSyncs.
	foreign map[[2]string]bool
}

// has reports whether an object belongs to the scope, and which cluster it scans, if any.
func (s scope) has(object corev1.ObjectReference) (cluster string, ok bool) {
	at := [2]string{object.Namespace, object.Name}
	group, _, _ := strings.Cut(object.APIVersion, "/")
	switch object.Kind {
	case kindSync:
		return "", group == v1alpha1.GroupVersion.Group && (s.sync == "" || s.sync == object.Name)
	case mondoo.Kind:
		return "", group == mondoo.Group && s.configs[at]
	case "CronJob", "Job", "Pod":
		cluster, ok = s.crons[cronOf(object)]
	}
	return cluster, ok
}

// cronOf is the CronJob that an object comes from, by its name. A Job is named after its CronJob, and a Pod after its Job.
func cronOf(object corev1.ObjectReference) [2]string {
	name := object.Name
	for range map[string]int{"Job": 1, "Pod": 2}[object.Kind] {
		if at := strings.LastIndexByte(name, '-'); at > 0 {
			name = name[:at]
		}
	}
	return [2]string{object.Namespace, strings.TrimRight(name, "-.")}
}

// unknown reports whether an object may scan a cluster whose CronJob is new.
func (s scope) unknown(object corev1.ObjectReference) bool {
	if object.Kind != "CronJob" && object.Kind != "Job" && object.Kind != "Pod" || !strings.HasPrefix(object.Name, mondoo.AppValue+"-") {
		return false
	}
	_, known := s.crons[cronOf(object)]
	return !known && !s.foreign[cronOf(object)]
}

// ignore notes an object that is still unknown after the scope was read anew.
func (s *scope) ignore(object corev1.ObjectReference) {
	if !s.unknown(object) {
		return
	}
	foreign := maps.Clone(s.foreign)
	if foreign == nil {
		foreign = map[[2]string]bool{}
	}
	foreign[cronOf(object)] = true
	s.foreign = foreign
}

// scope reads what belongs to an AuditSync, or to all of them. What the user may not read is in the notes.
func (c *cluster) scope(ctx context.Context, sync string) (s scope, notes []string, err error) {
	s = scope{sync: sync, configs: map[[2]string]bool{}, crons: map[[2]string]string{}}
	owned := map[[3]string]bool{} // namespace, audit config, cluster
	err = c.eachOf(ctx, corev1.SchemeGroupVersion.WithResource("configmaps"), metav1.ListOptions{LabelSelector: inventory.Label}, func(u *unstructured.Unstructured) error {
		inv, err := inventoryOf(u)
		if err != nil || sync != "" && inv.Sync != sync || inv.AuditConfig == "" {
			return err
		}
		s.configs[[2]string{u.GetNamespace(), inv.AuditConfig}] = true
		for _, item := range inv.Clusters {
			owned[[3]string{u.GetNamespace(), inv.AuditConfig, item.Name}] = true
		}
		return nil
	})
	if apierrors.IsForbidden(err) {
		return s, []string{"events of audit configs and scans are not shown: no permission to list ConfigMaps" + c.place()}, nil
	}
	if err != nil {
		return s, nil, c.explain("list the ConfigMaps with inventories", err)
	}
	err = c.eachOf(ctx, batchv1.SchemeGroupVersion.WithResource("cronjobs"), scanObjects(), func(u *unstructured.Unstructured) error {
		cluster := u.GetLabels()[mondoo.LabelCluster]
		if owned[[3]string{u.GetNamespace(), u.GetLabels()[mondoo.LabelAuditConfig], cluster}] {
			s.crons[[2]string{u.GetNamespace(), strings.TrimRight(u.GetName(), "-.")}] = cluster
		}
		return nil
	})
	if apierrors.IsForbidden(err) {
		return s, []string{"events of scans are not shown: no permission to list CronJobs" + c.place()}, nil
	}
	if err != nil {
		return s, nil, c.explain("list CronJobs", err)
	}
	return s, nil, nil
}

// inventoryOf decodes the inventory in a ConfigMap.
func inventoryOf(u *unstructured.Unstructured) (*inventory.Inventory, error) {
	var stored corev1.ConfigMap
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &stored)
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap %s/%s: %w", u.GetNamespace(), u.GetName(), err)
	}
	inv, err := inventory.Decode(stored.BinaryData[inventory.DataKey])
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap %s/%s: %w; restore it from a backup", u.GetNamespace(), u.GetName(), err)
	}
	return inv, nil
}

// place is where the cluster looks, for messages.
func (c *cluster) place() string {
	if c.namespace == "" {
		return " in all namespaces"
	}
	return " in " + c.namespace
}
