package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/setup"
)

// print writes what was written, and the commands that finish.
func (f *initFlags) print(s *shell, repo *repository, changes []author.Change, key string) error {
	steps := f.steps(repo, key)
	if f.output.value == "json" {
		r := result{Written: len(changes) > 0, Summary: plural(len(changes), "file") + " written", Files: filesOf(changes, false), Next: steps, PrivateKey: key}
		for _, c := range f.Files() {
			if !slices.ContainsFunc(changes, func(written author.Change) bool { return written.Path == c.Path }) {
				r.Unchanged = append(r.Unchanged, c.Path)
			}
		}
		return s.printResult(r)
	}
	var b strings.Builder
	for _, c := range changes {
		verb := "Wrote"
		if c.Before != nil {
			verb = "Added lines to"
		}
		fmt.Fprintf(&b, "%s %s\n", verb, printable(repo.fromWorkingDir(c.Path)))
	}
	if len(changes) == 0 {
		b.WriteString("Nothing to write: every file exists.\n")
	}
	width := widthOf(s.stdout)
	if key != "" {
		b.WriteString("\n" + reflowed("The private key is "+printable(key)+". It is not in the repository. Keep a copy: without it, the files can't be opened.\n"+
			"This lets muster and sops open them:", width) + "\n\n    export SOPS_AGE_KEY_FILE=" + setup.Quote(printable(key)) + "\n")
	}
	for i, step := range steps {
		b.WriteString("\n" + reflowed(fmt.Sprintf("%d. %s:", i+1, step.About), width) + "\n\n")
		for _, c := range step.Commands {
			b.WriteString("    " + printable(c) + "\n")
		}
	}
	_, err := fmt.Fprint(s.stdout, s.redactor.String(b.String()))
	return err
}

// steps are the commands that finish, in their order.
func (f *initFlags) steps(repo *repository, key string) (steps []nextStep) {
	say := func(about string, commands ...string) { steps = append(steps, nextStep{about, commands}) }
	git := "git "
	if repo.fromWorkingDir(".") != "." {
		git += "-C " + repo.argument(".") + " "
	}
	folder := repo.argument(f.Folder(f.Environments[0]))
	say("Add a cluster", "muster add CLUSTER "+folder+" --from-context CONTEXT --create-service-account")
	if f.unknown {
		say("Replace "+placeholderURL+" in the AuditSyncs by the address of your repository, which init does not know", git+"grep --untracked -l git.example.com")
	}
	var push []string
	if !f.remote {
		push = append(push, git+"remote add origin "+setup.Quote(f.URL))
	}
	say("Commit and push", append(push, git+"add --all && "+git+"commit -m 'Clusters for Muster' && "+git+"push -u origin "+setup.Quote(f.Branch))...)
	secret := "kubectl -n " + f.Namespace + " create secret generic "
	say("Give the controller its access to the repository, and its key", f.gitSecret(secret), f.keySecret(secret, key))
	var manifests []string
	for _, env := range f.Environments {
		manifests = append(manifests, "-f "+repo.argument(f.AuditSyncFile(env)))
	}
	say("Connect the two, in the management cluster with Muster and the Mondoo Operator", "kubectl apply "+strings.Join(manifests, " "), "muster status")
	return steps
}

func (f *initFlags) gitSecret(create string) string {
	if strings.HasPrefix(f.URL, "ssh://") {
		return create + author.GitSecret + " --from-file=identity=DEPLOY_KEY --from-file=known_hosts=KNOWN_HOSTS"
	}
	return create + author.GitSecret + " --from-literal=username=muster --from-file=password=TOKEN_FILE"
}

func (f *initFlags) keySecret(create, key string) string {
	r := f.Recipients
	file := "fleet.agekey=KEY_FILE"
	switch {
	case key != "":
		file = "fleet.agekey=" + setup.Quote(key)
	case len(r.Age) > 0:
	case len(r.PGP) > 0:
		file = "fleet.asc=KEY_FILE"
	case len(r.Vault) > 0:
		file = "sops.vault-token=TOKEN_FILE"
	case len(r.AWS) > 0:
		file = "sops.aws-kms=CREDENTIALS_FILE"
	case len(r.GCP) > 0:
		file = "sops.gcp-kms=CREDENTIALS_FILE"
	case len(r.Azure) > 0:
		file = "sops.azure-kv=CREDENTIALS_FILE"
	}
	return create + author.KeysSecret + " --from-file=" + file
}
