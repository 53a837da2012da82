package operator

import (
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Serve tells what stops the stand-in at an audit config, as far as no cluster is needed for that, and otherwise which CronJobs it makes.
func Serve(config *unstructured.Unstructured) (stops string, crons []*batchv1.CronJob) {
	if why := undecodable([]unstructured.Unstructured{*config}); why != "" {
		return why, nil
	}
	if !annotationsValid(config) {
		return "invalid annotations", nil
	}
	rewrite(config)
	list, err := mondoo.Entries(config.Object)
	if err != nil {
		return err.Error(), nil
	}
	for _, raw := range list {
		entry, err := mondoo.ParseEntry(raw)
		if err != nil {
			return err.Error(), nil
		}
		if why := refused(config, entry); why != "" {
			return entry.Name + ": " + why, nil
		}
		crons = append(crons, cronJob(config, entry, false))
	}
	return "", crons
}
