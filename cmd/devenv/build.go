package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

func buildCommand() command {
	return command{
		name: "build", args: "[COMPONENT...]",
		does: "build missing components and print their paths; without names, the components of `up`",
		run:  build,
	}
}

func build(ctx context.Context, names []string, stdout, stderr io.Writer) error {
	components, err := selected(names)
	if err != nil {
		return err
	}
	for _, c := range components {
		path, err := server.Binary(ctx, c, stderr)
		if err != nil {
			return err
		}
		fmt.Fprintln(stdout, path)
	}
	return nil
}

func selected(names []string) ([]server.Component, error) {
	if len(names) == 0 {
		return []server.Component{server.Etcd, server.KubeAPIServer}, nil
	}
	var found []server.Component
	for _, name := range names {
		i := slices.IndexFunc(server.Components(), func(c server.Component) bool { return c.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("%w: unknown component %q; the components are %s", errUsage, name, known())
		}
		found = append(found, server.Components()[i])
	}
	return found, nil
}

func known() string {
	var names []string
	for _, c := range server.Components() {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}
