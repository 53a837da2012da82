package main

import (
	"io"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// The names under which users call this binary. kubectl finds a plugin by the name of its file, kubectl-muster, and what
// completes it by the name kubectl_complete-muster
// (https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/).
const (
	programName    = "muster"
	pluginName     = "kubectl muster"
	pluginFile     = "kubectl-muster"
	completionFile = "kubectl_complete-muster"
)

// invoked tells from the name of the file what the user has typed. kubectl runs the completion file with the words so far.
func invoked(args []string) (name string, rest []string) {
	if len(args) == 0 {
		return programName, nil
	}
	switch strings.TrimSuffix(filepath.Base(args[0]), ".exe") {
	case pluginFile:
		return pluginName, args[1:]
	case completionFile:
		return pluginName, append([]string{cobra.ShellCompRequestCmd}, args[1:]...)
	}
	return programName, args[1:]
}

// rename makes help and usage name the program as the user does.
func (s *shell) rename(root *cobra.Command) {
	if s.name != pluginName {
		return
	}
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: pluginName}
	var all func(*cobra.Command)
	all = func(cmd *cobra.Command) {
		cmd.Long, cmd.Example = s.named(cmd.Long, root), s.named(cmd.Example, root)
		for _, c := range cmd.Commands() {
			all(c)
		}
	}
	all(root)
}

// named replaces the name of the program in front of its commands and of --help.
func (s *shell) named(text string, root *cobra.Command) string {
	if s.name != pluginName {
		return text
	}
	names := []string{"--help"}
	for _, c := range root.Commands() {
		names = append(names, c.Name())
	}
	command := regexp.MustCompile(`(?:\bkubectl )?\bmuster (` + strings.Join(names, "|") + `)\b`)
	return command.ReplaceAllString(text, pluginName+" $1")
}

// pluginCompletion is the program that kubectl runs to complete the plugin.
const pluginCompletion = `#!/bin/sh
# Completes kubectl muster. kubectl 1.26 or newer runs this file, which has to be executable and in a folder of PATH.
exec kubectl-muster ` + cobra.ShellCompRequestCmd + ` "$@"
`

func writePluginCompletion(_ *cobra.Command, w io.Writer) error {
	_, err := io.WriteString(w, pluginCompletion)
	return err
}
