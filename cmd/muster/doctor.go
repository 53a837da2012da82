package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/cmd/muster/doctor"
)

const doctorHelp = `Doctor checks an installation of Muster: the API server, the controller, its rights, the Mondoo Operator, and for each
AuditSync its repository, forge, webhook and decryption keys. Each failed check has its cause and a fix.

It reads with your rights, Secrets included, and prints nothing secret. What you may not read is skipped. Repositories and
forges are asked from here, with the controller's credentials; nothing is written to them. No file is decrypted.

Exit status: 0 when nothing failed, also with warnings and skipped checks, 1 when a check failed, 2 when the command failed.`

const doctorExample = `  # Is everything set up?
  muster doctor

  # Why is one AuditSync not ready?
  muster doctor production

  # What failed, for a program
  muster doctor -o json | jq -r '.checks[] | select(.result == "failed") | .name'`

func newDoctorCommand(s *shell) *cobra.Command {
	var namespace, controller string
	var where kubeFlags
	cmd := &cobra.Command{
		Use: "doctor [AUDITSYNC]", Short: "Check the installation and what AuditSyncs need", Long: doctorHelp, Example: doctorExample,
		Args: atMost(1), ValidArgsFunction: completeSyncs(s, &where, &namespace),
	}
	output := addChoice(cmd, "output", "o", "output format", "text", "json")
	addNamespace(cmd, &namespace)
	addControllerNamespace(cmd, &controller)
	where.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkNamespaces(namespace, controller); err != nil {
			return err
		}
		c, err := where.connect(s, namespace)
		if err != nil {
			return err
		}
		report := &doctorReport{shell: s, json: output.value == "json", Namespace: namespace, Checks: []doctor.Check{}}
		err = doctor.Run(cmd.Context(), doctor.Options{Config: c.config, Namespace: namespace, Controller: cmp.Or(controller, namespace), Sync: strings.Join(args, ""),
			Version: shortVersion(), Redactor: s.redactor, Now: time.Now}, report.add)
		if err != nil {
			return err
		}
		return report.conclude()
	}
	return cmd
}

// checkNamespaces checks --namespace, and --controller-namespace, which may be "".
func checkNamespaces(namespace, controller string) error {
	if controller != "" && checkNamespace(controller) != nil {
		return usagef("--controller-namespace %q is not a valid namespace name", controller)
	}
	return checkNamespace(namespace)
}

// doctorReport is everything that was checked.
type doctorReport struct {
	*shell
	json     bool
	category string

	Namespace string
	Checks    []doctor.Check
}

// add prints checks as text at once: some take seconds.
func (r *doctorReport) add(checks []doctor.Check) error {
	r.Checks = append(r.Checks, checks...)
	if r.json {
		return nil
	}
	_, err := fmt.Fprint(r.stdout, checksText(checks, &r.category, r.marks(), r.painter(r.stdout), widthOf(r.stdout)))
	return err
}

// marks are the signs of results in a terminal, and words elsewhere.
func (r *doctorReport) marks() map[doctor.Result]string {
	if r.painter(r.stdout)(bold, "") == "" {
		return wordMarks
	}
	return signMarks
}

var (
	signMarks = map[doctor.Result]string{doctor.Passed: "√", doctor.Warning: "‼", doctor.Failed: "×", doctor.Skipped: "-"}
	wordMarks = map[doctor.Result]string{doctor.Passed: "ok:", doctor.Warning: "warning:", doctor.Failed: "failed:", doctor.Skipped: "skipped:"}
)

var resultColour = map[doctor.Result]colour{doctor.Passed: green, doctor.Warning: yellow, doctor.Failed: red, doctor.Skipped: dim}

// checksText writes checks below the headings of their categories. category is the last heading.
func checksText(checks []doctor.Check, category *string, marks map[doctor.Result]string, paint func(colour, string) string, width int) string {
	var b strings.Builder
	for _, c := range checks {
		if c.Category != *category {
			if *category != "" {
				b.WriteString("\n")
			}
			*category = c.Category
			b.WriteString(paint(bold, c.Category) + "\n" + strings.Repeat("-", len(c.Category)) + "\n")
		}
		text := printable(c.Name)
		if c.Result == doctor.Passed && c.Detail != "" {
			text += " (" + printable(c.Detail) + ")"
		}
		mark := marks[c.Result]
		b.WriteString(hanging(paint(resultColour[c.Result], mark), mark, text, width, "    ") + "\n")
		if c.Result != doctor.Passed {
			writeParagraph(&b, "    ", printable(c.Detail), width)
		}
		if c.Fix != "" {
			b.WriteString("    " + hanging(paint(bold, "Fix:"), "Fix:", printable(c.Fix), width, "        ") + "\n")
		}
	}
	return b.String()
}

// conclude prints the summary, or all of it as JSON. The error is the exit status.
func (r *doctorReport) conclude() error {
	n := map[doctor.Result]int{}
	for _, c := range r.Checks {
		n[c.Result]++
	}
	var err error
	if r.json {
		err = writeJSON(r.stdout, struct {
			Namespace string                `json:"namespace"`
			Summary   map[doctor.Result]int `json:"summary"`
			Checks    []doctor.Check        `json:"checks"`
		}{r.Namespace, n, r.Checks})
	} else {
		_, err = fmt.Fprintf(r.stdout, "\n%s\n", summaryOfChecks(n))
	}
	switch {
	case err != nil:
		return fmt.Errorf("print checks: %w", err)
	case n[doctor.Failed] > 0:
		return statusError(exitFindings)
	}
	return nil
}

// summaryOfChecks counts results, the worst first.
func summaryOfChecks(n map[doctor.Result]int) string {
	var parts []string
	for _, part := range []struct {
		result doctor.Result
		noun   string
	}{{doctor.Failed, "failed"}, {doctor.Warning, "warning"}, {doctor.Skipped, "skipped"}, {doctor.Passed, "passed"}} {
		count := n[part.result]
		switch {
		case count == 0 && part.result != doctor.Passed:
		case part.result == doctor.Warning:
			parts = append(parts, plural(count, part.noun))
		default:
			parts = append(parts, fmt.Sprintf("%d %s", count, part.noun))
		}
	}
	return strings.Join(parts, ", ")
}
