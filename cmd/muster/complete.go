package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
)

// completeTimeout is how long a shell waits for names from a cluster.
const completeTimeout = 3 * time.Second

// completeFiles makes the shell complete a flag with file names.
func completeFiles(cmd *cobra.Command, flag string) {
	completeFlag(cmd, flag, cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault))
}

// completeContexts makes the shell complete a flag with the contexts of a kubeconfig; see kubeFlags.kubeconfig.
func completeContexts(cmd *cobra.Command, flag string, kubeconfig *string) {
	completeFlag(cmd, flag, func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		rules := clientcmd.NewDefaultClientConfigLoadingRules()
		rules.ExplicitPath = *kubeconfig
		rules.Warner = func(error) {}
		config, err := rules.Load()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return slices.Sorted(maps.Keys(config.Contexts)), cobra.ShellCompDirectiveNoFileComp
	})
}

func completeFlag(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the caller has just added the flag
	}
}

func completeFolders(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// completeClusterAndFolder completes a cluster of the working directory, and then a folder.
func completeClusterAndFolder(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return completeFolders(cmd, args[1:], word)
	}
	return clusterNames(cmd.Context(), "."), cobra.ShellCompDirectiveNoFileComp
}

// clusterNames are the clusters of the environments below a folder, or else of the folder. It uses no key.
func clusterNames(ctx context.Context, folder string) []cobra.Completion {
	t, err := locateFolder(ctx, folder)
	if err != nil {
		return nil
	}
	defer t.close()
	folders := (environments{}).below(t)
	if len(folders) == 0 {
		folders = []string{t.path}
	}
	var names []string
	for _, folder := range folders {
		sealed, err := clusters.NewPipeline().Compile(ctx, clusters.Source{FS: t.fs, Path: folder}, compile.Options{Namespace: defaultNamespace, AuditConfig: defaultAuditConfig, Offline: true}, nil)
		if err != nil {
			continue
		}
		for i := range sealed.Clusters {
			names = append(names, sealed.Clusters[i].Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// completeSyncs completes an AuditSync of the namespace. If the management cluster doesn't answer, there is nothing to complete.
func completeSyncs(s *shell, where *kubeFlags, namespace *string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, stop := context.WithTimeout(cmd.Context(), completeTimeout)
		defer stop()
		if c, err := where.connect(s, *namespace); err == nil {
			_ = c.each(ctx, auditSyncs, func(u *unstructured.Unstructured) error { // the shell shows no errors
				names = append(names, u.GetName())
				return nil
			})
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
