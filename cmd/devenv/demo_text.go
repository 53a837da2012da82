package main

import (
	"fmt"
	"os"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
)

// text tells the reader where everything is, and what to try.
func (d *demo) text() string {
	if d.forge != nil {
		return d.forgeText()
	}
	var b strings.Builder
	note, look := d.look()
	fmt.Fprintf(&b, `
Muster is running. The AuditSync %q manages the MondooAuditConfig %q from a repository.

  everything   %s
  repository   %s
  work tree    %s
  logs         %s
               %s

Run this in another terminal. It sets KUBECONFIG, PATH and SOPS_AGE_KEY_FILE, and changes to the work tree:

    . %s

Look at the state.%s

    %s
`, demoSync, demoAuditConfig, d.dir, d.repositoryURL(), d.file("fleet"), d.file("controller.log"), d.file("control-plane", "*.log"), d.file("env"), note, strings.Join(look, "\n    "))
	d.writeSteps(&b)
	return b.String()
}

func (d *demo) writeSteps(b *strings.Builder) {
	for i, s := range d.steps() {
		fmt.Fprintf(b, "\n%d. %s\n", i+1, s.title)
		for _, a := range s.actions {
			b.WriteString("\n")
			for _, c := range a.commands {
				b.WriteString(indented("    ", c))
			}
			b.WriteString(indented("  → ", a.expect))
		}
	}
	b.WriteString("\nCtrl-C ends everything and removes the folder. Events are printed below.\n\n")
}

// indented puts the mark before the first line, and spaces before the others.
func indented(mark, text string) string {
	blank := strings.Repeat(" ", len([]rune(mark)))
	return mark + strings.ReplaceAll(text, "\n", "\n"+blank) + "\n"
}

// look are the commands that show the state, with a note if they aren't the usual ones.
func (d *demo) look() (note string, commands []string) {
	switch {
	case d.tools.kubectl:
		return "", []string{
			"kubectl get auditsyncs -o wide",
			"kubectl get mondooauditconfig " + demoAuditConfig + " -o yaml",
			"kubectl describe auditsync " + demoSync,
		}
	case d.tools.curl:
		return " kubectl is not on the PATH, so this asks the API server with curl.", []string{
			"curl -sSfK ../admin.curl " + d.objectURL("muster.dev/v1alpha1", "auditsyncs", demoSync),
			"curl -sSfK ../admin.curl " + d.objectURL("k8s.mondoo.com/v1alpha2", "mondooauditconfigs", demoAuditConfig),
		}
	default:
		return " Neither kubectl nor curl is on the PATH; this compares the work tree with the API server.", []string{"muster plan clusters"}
	}
}

// writeEnv writes the file that the reader's shell sources, and curl's options in case there is no kubectl.
func (d *demo) writeEnv() error {
	kubeconfig, err := inNamespace(d.plane.Kubeconfig(), demoNamespace)
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.file("kubeconfig"), kubeconfig, 0o600); err != nil {
		return err
	}
	env := fmt.Sprintf("export KUBECONFIG=%s\nexport SOPS_AGE_KEY_FILE=%s\nexport PATH=%s:\"$PATH\"\ncd %s\n",
		quoted(d.file("kubeconfig")), quoted(d.file("sops-key.txt")), quoted(d.file("bin")), quoted(d.file("fleet")))
	if d.forge != nil {
		env += "export FLEET=" + quoted(d.forge.api()) + "\n"
	}
	if err := os.WriteFile(d.file("env"), []byte(env), 0o600); err != nil {
		return err
	}
	admin := d.plane.Config()
	for name, content := range map[string][]byte{"admin.crt": admin.CertData, "admin.key": admin.KeyData} {
		if err := os.WriteFile(d.file(name), content, 0o600); err != nil {
			return err
		}
	}
	curl := fmt.Sprintf("cacert = %q\ncert = %q\nkey = %q\n", d.file("control-plane", "ca.crt"), d.file("admin.crt"), d.file("admin.key"))
	return os.WriteFile(d.file("admin.curl"), []byte(curl), 0o600)
}

// quoted quotes a path as one word for a shell.
func quoted(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }

// inNamespace sets the default namespace of a kubeconfig, so that no command has to name it.
func inNamespace(kubeconfig []byte, namespace string) ([]byte, error) {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, err
	}
	for _, c := range config.Contexts {
		c.Namespace = namespace
	}
	return clientcmd.Write(*config)
}
