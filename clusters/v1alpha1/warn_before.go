package v1alpha1

import (
	"time"

	"github.com/prometheus/common/model"
)

// AnnotationWarnBefore sets how long before their end a cluster's credentials are reported as expiring, such as 14d.
const AnnotationWarnBefore = "muster.dev/warn-before"

// WarnBefore is the value of AnnotationWarnBefore; zero if it is missing or invalid.
func (c *ExternalCluster) WarnBefore() time.Duration {
	d, _ := ParseDuration(c.Metadata.Annotations[AnnotationWarnBefore])
	return d
}

// ParseDuration parses a positive duration with units from ms to y, such as 36h, 14d or 1d12h. It returns false for anything else.
func ParseDuration(text string) (time.Duration, bool) {
	d, err := model.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, false
	}
	return time.Duration(d), true
}

func (v *validator) warnBefore(annotations map[string]string) {
	value := annotations[AnnotationWarnBefore]
	if !v.checkable(value) {
		return
	}
	if _, ok := ParseDuration(value); !ok {
		v.warn(CodeWarnBefore, []string{"metadata", "annotations", AnnotationWarnBefore}, "is not a positive duration, so it has no effect", "write for example 14d, 36h or 2w")
	}
}
