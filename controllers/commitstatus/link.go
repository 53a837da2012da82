package commitstatus

import (
	"fmt"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// link returns the address of the details of a commit.
func link(template string, key types.NamespacedName, hash string) string {
	return strings.NewReplacer("{namespace}", key.Namespace, "{name}", key.Name, "{commit}", hash).Replace(template)
}

// ValidateURL validates the template for the links of commit statuses. Empty is valid and means no links.
func ValidateURL(template string) error {
	if template == "" {
		return nil
	}
	filled := link(template, types.NamespacedName{Namespace: "n", Name: "n"}, "c")
	if strings.ContainsAny(filled, "{}") {
		return fmt.Errorf("the status URL %q has an unknown placeholder; use {namespace}, {name} and {commit}", template)
	}
	u, err := url.Parse(filled)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
		return fmt.Errorf("the status URL %q is not a valid URL; use https://HOST/PATH with the placeholders {namespace}, {name} and {commit}", template)
	}
	if u.User != nil {
		return fmt.Errorf("the status URL contains credentials, which everyone who can see a commit could read; remove them")
	}
	if strings.ContainsFunc(template, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("the status URL %q contains a blank or a control character", template)
	}
	return nil
}
