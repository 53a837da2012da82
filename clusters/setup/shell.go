package setup

import (
	"cmp"
	"fmt"
	"strings"
)

// Commands returns the setup as a shell script, for bash and zsh. It can be pasted as a whole: commands without the
// variables that they need don't run, and all of them can be repeated.
func (s Setup) Commands() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Setup of the cluster %q of the audit config %q in the namespace %q: %s\n", s.Cluster, s.AuditConfig, s.Namespace, cmp.Or(s.Method, "no authentication method"))
	if len(s.Variables) > 0 {
		b.WriteString("\n# Variables. Set those that have no value here; a command doesn't run without the variables in it.\n")
	}
	for _, v := range s.Variables {
		name := strings.ToUpper(v.Name)
		switch {
		case v.find != "":
			fmt.Fprintf(&b, "# %s: %s\n[ \"${%[1]s-}\" ] || %[1]s=$(%[3]s)\n", name, v.Meaning, v.find)
		case v.fallback != nil:
			fmt.Fprintf(&b, "# %s: %s\n[ \"${%[1]s-}\" ] || %[1]s=%[3]s\n", name, v.Meaning, v.fallback.shell())
		default:
			fmt.Fprintf(&b, ": \"${%s:?%s}\"\n", name, v.Meaning)
		}
	}
	for i, step := range s.Steps {
		fmt.Fprintf(&b, "\n# %d. %s (%s)\n", i+1, step.Title, step.Where)
		if step.Note != "" {
			b.WriteString("# " + strings.ReplaceAll(step.Note, ". ", ".\n# ") + "\n") // a line a sentence
		}
		b.WriteString(step.Commands + "\n")
	}
	return b.String()
}
