package credential

import (
	"time"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Check checks a value of a Secret by its key, one of those that the operator reads. Nothing is known about other keys.
func Check(key string, content []byte, now time.Time) (Facts, []Problem) {
	switch key {
	case mondoo.KeyKubeconfig:
		return Kubeconfig(content, now)
	case mondoo.KeyToken:
		return Token(content, now)
	case mondoo.KeyCACert:
		return CACert(content, now)
	case mondoo.KeyDockerConfigJSON:
		return DockerConfigJSON(content, now)
	}
	return Facts{}, nil
}
