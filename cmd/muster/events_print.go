package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
)

// printAll writes events as a table, or as a list for programs. A watch has a line for each instead of a list.
func (v *eventView) printAll(list []corev1.Event) error {
	format := v.flags.output.value
	switch {
	case format != "text" && v.flags.watch:
		return v.printEach(list)
	case format != "text":
		objects := make([]map[string]any, 0, len(list))
		for _, e := range list {
			object, err := v.document(e)
			if err != nil {
				return err
			}
			objects = append(objects, object)
		}
		document := map[string]any{"apiVersion": "v1", "kind": "List", "items": objects}
		if format == "json" {
			return writeJSON(v.stdout, document)
		}
		return writeYAML(v.stdout, document)
	case len(list) == 0:
		_, err := fmt.Fprintf(v.stdout, "no events%s\n", v.cluster.place())
		return err
	}
	_, err := fmt.Fprint(v.stdout, eventsText(time.Now(), v.redacted(list), v.flags.allNamespaces, v.painter(v.stdout), widthOf(v.stdout)))
	return err
}

// printEach writes events one by one.
func (v *eventView) printEach(list []corev1.Event) error {
	for _, e := range list {
		switch v.flags.output.value {
		case "text":
			row := eventRow(time.Now(), v.redacted([]corev1.Event{e})[0], v.flags.allNamespaces)
			if err := v.printRow(row); err != nil {
				return err
			}
			continue
		case "yaml":
			fmt.Fprintln(v.stdout, "---")
		}
		object, err := v.document(e)
		if err != nil {
			return err
		}
		if v.flags.output.value == "yaml" {
			err = writeYAML(v.stdout, object)
		} else {
			err = json.NewEncoder(v.stdout).Encode(object)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// printRow writes an event that comes after the table, with columns that are wide enough for most.
func (v *eventView) printRow(row []cell) error {
	least := []int{9, 7, 20, 36}
	for i := range row[:len(row)-1] {
		if n := least[min(i, len(least)-1)] - utf8.RuneCountInString(row[i].text); n > 0 {
			row[i].text += strings.Repeat(" ", n)
		}
	}
	var b strings.Builder
	table{row}.write(&b, v.painter(v.stdout), "", len(row)-1, widthOf(v.stdout))
	_, err := fmt.Fprint(v.stdout, b.String())
	return err
}

func (v *eventView) redacted(list []corev1.Event) []corev1.Event {
	out := make([]corev1.Event, 0, len(list))
	for _, e := range list {
		e.Message, e.Reason = v.redactor.String(e.Message), v.redactor.String(e.Reason)
		out = append(out, e)
	}
	return out
}

// eventsText is a table of events. In a terminal that is too narrow, messages are on separate lines, and so are other columns
// from the right.
func eventsText(now time.Time, list []corev1.Event, namespaces bool, paint func(colour, string) string, width int) string {
	head := []cell{{"LAST SEEN", dim}, {"TYPE", dim}, {"REASON", dim}, {"OBJECT", dim}, {"MESSAGE", dim}}
	if namespaces {
		head = append([]cell{{"NAMESPACE", dim}}, head...)
	}
	t := table{head}
	for _, e := range list {
		t = append(t, eventRow(now, e, namespaces))
	}
	keep := len(head) - 1
	if widths := widthsOf(t); width > 0 && t.longest(widths) > width {
		keep = columnsThatFit(widths, width)
		t[0] = append(slices.Clone(head[:keep]), cell{})
	}
	var b strings.Builder
	t.write(&b, paint, "", keep, width)
	return b.String()
}

// columnsThatFit is how many columns but the last fit in a line. There is always one.
func columnsThatFit(widths []int, width int) int {
	used, last := 0, len(widths)-1
	for i, n := range widths[:last] {
		if used += n; used > width {
			return max(i, 1)
		}
		used += 2
	}
	return last
}

func eventRow(now time.Time, e corev1.Event, namespace bool) []cell {
	kind := colour("")
	if e.Type == corev1.EventTypeWarning {
		kind = yellow
	}
	row := []cell{{printable(seenText(now, e)), ""}, {printable(e.Type), kind}, {printable(e.Reason), ""},
		{printable(e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name), ""}, {printable(strings.Join(strings.Fields(e.Message), " ")), ""}}
	if namespace {
		row = append([]cell{{printable(e.Namespace), ""}}, row...)
	}
	return row
}
