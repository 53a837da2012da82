package operator

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

const (
	cronJobPrefix    = "mondoo-k8s-scan"
	usualAuditConfig = "mondoo-client"
	maxCronJobName   = 52 // Kubernetes' limit: a Job's name is 11 longer
	hashed           = 8  // hexadecimal digits
)

// CronJobName is the name of an entry's CronJob: mondoo-k8s-scan[-INTEGRATION]-CLUSTER. The audit config mondoo-client has
// no integration, mondoo-client-X has X, and for any other it is the whole name. If the name would be too long, a hash
// replaces the integration. If that is not enough, the cluster is cut and gets a hash, too.
func CronJobName(auditConfig, cluster string) string {
	integration := strings.TrimPrefix(strings.TrimPrefix(auditConfig, usualAuditConfig), "-")
	if !strings.HasPrefix(auditConfig+"-", usualAuditConfig+"-") {
		integration = auditConfig
	}
	name := joined(integration, cluster)
	if len(name) <= maxCronJobName {
		return name
	}
	if integration != "" {
		integration = sum(integration)
	}
	if over := len(joined(integration, cluster)) - maxCronJobName; over > 0 {
		cluster = strings.TrimRight(cluster[:len(cluster)-over-hashed-1], "-.") + "-" + sum(cluster)
	}
	return joined(integration, cluster)
}

func joined(integration, cluster string) string {
	if integration == "" {
		return cronJobPrefix + "-" + cluster
	}
	return cronJobPrefix + "-" + integration + "-" + cluster
}

func sum(text string) string {
	digest := sha256.Sum256([]byte(text))
	return hex.EncodeToString(digest[:])[:hashed]
}
