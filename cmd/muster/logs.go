package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/muster-gitops/muster/cmd/muster/doctor"
)

const logsHelp = `Logs shows the log of the controller, of all its Pods, oldest first. With a name, it shows only lines about this AuditSync.
The Pods are those with the labels app.kubernetes.io/name=muster and app.kubernetes.io/component=controller in the
controller's namespace. It needs permission to list Pods and to get pods/log there.

--tail counts the lines that are shown, not those that other AuditSyncs have logged. --level is the lowest level to show: the
controller logs debug lines only with --log-level debug. -o json prints the lines as they were logged, one JSON document each.`

const logsExample = `  # What does the controller do for this AuditSync?
  muster logs production --follow --tail 20

  # Errors of the last hour
  muster logs --level error --since 1h

  # One controller for all namespaces
  muster logs production -n team-a --controller-namespace mondoo-operator`

// controllerContainer is the name of the controller's container.
const controllerContainer = "muster"

// logsFlags select lines.
type logsFlags struct {
	namespace, controller string
	follow                bool
	since                 time.Duration
	tail                  int
	level, output         *choice
}

func newLogsCommand(s *shell) *cobra.Command {
	var flags logsFlags
	var where kubeFlags
	cmd := &cobra.Command{
		Use: "logs [AUDITSYNC]", Short: "Show the log of the controller", Long: logsHelp, Example: logsExample,
		Args: atMost(1), ValidArgsFunction: completeSyncs(s, &where, &flags.namespace),
	}
	flags.output = addChoice(cmd, "output", "o", "output format", "text", "json")
	flags.level = addChoice(cmd, "level", "", "lowest level to show", "debug", "info", "error")
	addNamespace(cmd, &flags.namespace)
	addControllerNamespace(cmd, &flags.controller)
	f := cmd.Flags()
	f.BoolVarP(&flags.follow, "follow", "f", false, "show new lines until Ctrl-C")
	f.DurationVar(&flags.since, "since", 0, "only lines that are newer than this, such as 10m (default: all)")
	f.IntVar(&flags.tail, "tail", -1, "only this many of the last lines; -1 is all")
	where.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := flags.check(); err != nil {
			return err
		}
		c, err := where.connect(s, cmp.Or(flags.controller, flags.namespace))
		if err != nil {
			return err
		}
		filter := lineFilter{level: logLevels[flags.level.value]}
		if len(args) > 0 {
			filter.namespace, filter.name = flags.namespace, args[0]
		}
		return s.logs(cmd.Context(), c, flags, filter)
	}
	return cmd
}

// addControllerNamespace adds the flag for a controller that runs in another namespace than its AuditSyncs.
func addControllerNamespace(cmd *cobra.Command, namespace *string) {
	cmd.Flags().StringVar(namespace, "controller-namespace", "", "namespace of the controller (default: that of --namespace)")
}

func (f logsFlags) check() error {
	switch {
	case f.since < 0:
		return usagef("--since %s is negative", f.since)
	case f.tail < -1:
		return usagef("--tail %d is negative", f.tail)
	}
	return checkNamespaces(f.namespace, f.controller)
}

// logs prints the lines that there are, merged by time, and with --follow those that come.
func (s *shell) logs(ctx context.Context, c *cluster, flags logsFlags, filter lineFilter) error {
	pods, err := c.controllerPods(ctx)
	if err != nil {
		return err
	}
	open, err := c.streaming()
	if err != nil {
		return err
	}
	client, err := corev1client.NewForConfig(open.config)
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	r := &logReader{shell: s, cluster: open, pods: client.Pods(c.namespace), flags: flags, filter: filter, known: map[string]*podLog{}}
	for _, name := range pods {
		r.known[name] = &podLog{name: name}
	}
	if err := r.past(ctx); err != nil || !flags.follow {
		return err
	}
	return r.follow(ctx)
}

// controllerPods are the names of the Pods whose container runs the controller, or has run it.
func (c *cluster) controllerPods(ctx context.Context) ([]string, error) {
	list, err := c.core.Pods(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: doctor.ControllerLabels})
	if err != nil {
		return nil, c.explain("list Pods", err)
	}
	var names []string
	for _, pod := range list.Items {
		if pod.Status.Phase != corev1.PodPending {
			names = append(names, pod.Name)
		}
	}
	switch {
	case len(list.Items) == 0:
		return nil, fmt.Errorf("no Pod in the namespace %s has the labels %s; choose another --controller-namespace, or see muster doctor", c.namespace, doctor.ControllerLabels)
	case len(names) == 0:
		return nil, fmt.Errorf("the Pod %s has not started; see kubectl -n %s describe pod %[1]s", list.Items[0].Name, c.namespace)
	}
	slices.Sort(names)
	return names, nil
}

// logReader reads the logs of Pods.
type logReader struct {
	*shell
	cluster *cluster
	pods    corev1client.PodInterface
	flags   logsFlags
	filter  lineFilter

	mu    sync.Mutex // guards printing, and the fields below
	known map[string]*podLog
}

// podLog is the log of a Pod.
type podLog struct {
	name    string
	after   time.Time // the last line that was read
	reading bool
}

// claim returns those of the Pods that no one reads yet. The caller has to read them.
func (r *logReader) claim(names []string) (unread []*podLog) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		pod := r.known[name]
		if pod == nil {
			pod = &podLog{name: name}
			r.known[name] = pod
		}
		if !pod.reading {
			pod.reading = true
			unread = append(unread, pod)
		}
	}
	return unread
}

// past prints the lines that there are.
func (r *logReader) past(ctx context.Context) error {
	var all []logLine
	group, ctx := errgroup.WithContext(ctx)
	for _, pod := range r.known {
		group.Go(func() error {
			opts := &corev1.PodLogOptions{}
			if r.flags.since > 0 {
				seconds := int64(max(r.flags.since/time.Second, 1))
				opts.SinceSeconds = &seconds
			}
			return r.read(ctx, pod, opts, func(line logLine) error {
				if all = append(all, line); r.flags.tail >= 0 && len(all) > 2*r.flags.tail+1000 {
					all = lastLines(all, r.flags.tail)
				}
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, line := range lastLines(all, r.flags.tail) {
		if err := r.print(line); err != nil {
			return err
		}
	}
	return nil
}

// lastLines sorts lines by time and keeps the last n; -1 keeps all.
func lastLines(all []logLine, n int) []logLine {
	slices.SortStableFunc(all, func(a, b logLine) int { return a.at.Compare(b.at) })
	if n >= 0 && len(all) > n {
		return all[len(all)-n:]
	}
	return all
}

// follow prints the lines that come after those of past, also those of Pods that replace others.
func (r *logReader) follow(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	begin := func(names []string) {
		for _, pod := range r.claim(names) {
			group.Go(func() error { return r.followPod(ctx, pod) })
		}
	}
	begin(slices.Sorted(maps.Keys(r.known)))
	group.Go(func() error {
		again := func() {
			if names, err := r.cluster.controllerPods(ctx); err == nil { // the next change of a Pod tries again
				begin(names)
			}
		}
		pods := corev1.SchemeGroupVersion.WithResource("pods")
		err := r.cluster.follow(ctx, pods, metav1.ListOptions{LabelSelector: doctor.ControllerLabels}, again, func(*watch.Event) { again() })
		if apierrors.IsForbidden(err) {
			fmt.Fprintln(r.stderr, "muster: Pods that start from now on are not followed: no permission to watch Pods"+printable(r.cluster.place()))
			return nil
		}
		return err
	})
	return group.Wait()
}

// followPod prints the lines of a Pod until its container ends. The Pod may then start another one.
func (r *logReader) followPod(ctx context.Context, pod *podLog) error {
	opts := &corev1.PodLogOptions{Follow: true}
	read := func() error {
		if !pod.after.IsZero() {
			opts.SinceTime = &metav1.Time{Time: pod.after}
		}
		return r.read(ctx, pod, opts, r.print)
	}
	err := read()
	for ctx.Err() == nil && r.cut(ctx, pod.name, err) {
		if err := pause(ctx, retryAfter); err != nil {
			return err
		}
		err = read()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	pod.reading = false
	if apierrors.IsNotFound(err) || apierrors.IsBadRequest(err) {
		return nil // it is gone, or its container is about to start
	}
	return err
}

// cut reports whether a log has ended although its container runs, because the API server or the kubelet restarts.
func (r *logReader) cut(ctx context.Context, name string, err error) bool {
	if err != nil {
		return transient(err)
	}
	list, err := r.cluster.core.Pods(r.cluster.namespace).List(ctx, metav1.ListOptions{LabelSelector: doctor.ControllerLabels})
	if err != nil {
		return transient(err)
	}
	return slices.ContainsFunc(list.Items, func(pod corev1.Pod) bool {
		return pod.Name == name && pod.Status.Phase == corev1.PodRunning && !slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
			return s.Name == controllerContainer && s.State.Running == nil
		})
	})
}

// maxLogLine bounds a line. The container runtime splits longer ones at 16 KiB, and the controller's are shorter than that.
const maxLogLine = 1 << 20

// read hands over the lines of a Pod that pass the filter and that were not read before, one at a time for all Pods. The kubelet
// puts the time in front of each line.
func (r *logReader) read(ctx context.Context, pod *podLog, opts *corev1.PodLogOptions, each func(logLine) error) error {
	opts.Container, opts.Timestamps = controllerContainer, true
	stream, err := r.pods.GetLogs(pod.name, opts).Stream(ctx)
	if err != nil {
		return r.cluster.explain("get pods/log of "+pod.name, err)
	}
	defer stream.Close() //nolint:errcheck // it was read to its end, or the command ends
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, maxLogLine)
	before := pod.after
	for lines.Scan() {
		stamp, text, _ := strings.Cut(lines.Text(), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil || !at.After(before) {
			continue
		}
		pod.after = at
		line := parseLine(text)
		line.at, line.pod = at, pod.name
		if !r.filter.passes(line) {
			continue
		}
		if err := r.one(line, each); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := lines.Err(); err != nil {
		return r.cluster.explain("read the log of "+pod.name, err)
	}
	return nil
}

func (r *logReader) one(line logLine, each func(logLine) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return each(line)
}

// print writes a line. If there are several Pods, it names the line's.
func (r *logReader) print(line logLine) error {
	if r.flags.output.value == "json" {
		_, err := fmt.Fprintln(r.stdout, printable(r.redactor.String(line.raw)))
		return err
	}
	pod := ""
	if len(r.known) > 1 {
		pod = line.pod
	}
	_, err := fmt.Fprintln(r.stdout, line.textOf(pod, r.redactor.String, r.painter(r.stdout)))
	return err
}
