package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// logLine is a line of the controller's log. The controller writes JSON; a line that isn't, such as that of a crash, has only
// raw and its time.
type logLine struct {
	raw, pod        string
	at              time.Time
	json            bool
	level           slog.Level
	message         string
	namespace, name string            // of the AuditSync that the line is about, or ""
	values          map[string]string // everything else that the line says
}

// parseLine reads a line. Package log/slog documents its form.
func parseLine(raw string) logLine {
	line := logLine{raw: raw}
	fields := map[string]any{}
	decoder := json.NewDecoder(strings.NewReader(raw))
	decoder.UseNumber()
	if decoder.Decode(&fields) != nil {
		return line
	}
	level, _ := fields[slog.LevelKey].(string)
	if line.level.UnmarshalText([]byte(level)) != nil {
		return line
	}
	line.json = true
	line.message, _ = fields[slog.MessageKey].(string)
	line.namespace, line.name = auditSyncOf(fields)
	line.values = map[string]string{}
	for key, value := range fields {
		if !slices.Contains(shownElsewhere, key) {
			line.values[key] = logValue(value)
		}
	}
	return line
}

// shownElsewhere are fields of a line that the text has in other places, or that controller-runtime adds and that say the
// same for each line.
var shownElsewhere = []string{slog.TimeKey, slog.LevelKey, slog.MessageKey, kindSync, "namespace", "name", "controller", "controllerGroup", "controllerKind", "reconcileID"}

// auditSyncOf finds what a line is about. controller-runtime writes an object, and the receiver of webhooks two fields.
func auditSyncOf(fields map[string]any) (namespace, name string) {
	if object, ok := fields[kindSync].(map[string]any); ok {
		fields = object
	}
	namespace, _ = fields["namespace"].(string)
	name, _ = fields["name"].(string)
	return namespace, name
}

func logValue(value any) string {
	if text, ok := value.(string); ok {
		return text
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Sprint(value)
	}
	return strings.TrimSpace(out.String())
}

// lineFilter selects lines.
type lineFilter struct {
	namespace, name string // of an AuditSync; an empty name means all
	level           slog.Level
}

// passes reports whether to show a line. One that isn't the logger's is shown unless an AuditSync is named: it tells why the
// controller has crashed.
func (f lineFilter) passes(line logLine) bool {
	if !line.json {
		return f.name == "" && strings.TrimSpace(line.raw) != ""
	}
	return line.level >= f.level && (f.name == "" || line.name == f.name && line.namespace == f.namespace)
}

var levelColour = map[slog.Level]colour{slog.LevelDebug: dim, slog.LevelInfo: cyan, slog.LevelWarn: yellow, slog.LevelError: red}

// levelOf is a level's name. Verbose lines have levels between the named ones.
func levelOf(level slog.Level) (string, colour) {
	known := slog.LevelError
	for _, l := range []slog.Level{slog.LevelError, slog.LevelWarn, slog.LevelInfo, slog.LevelDebug} {
		if known = l; level >= l {
			break
		}
	}
	return strings.ToLower(known.String()), levelColour[known]
}

// textOf is a line for people: time, level, Pod if there are several, AuditSync, message and values.
func (l logLine) textOf(pod string, redact func(string) string, paint func(colour, string) string) string {
	show := func(text string) string { return printable(redact(text)) }
	parts := []string{paint(dim, l.at.UTC().Format("2006-01-02T15:04:05.000Z"))}
	if pod != "" {
		parts = append(parts, paint(dim, printable(pod)))
	}
	if !l.json {
		return strings.Join(append(parts, show(l.raw)), " ")
	}
	name, colour := levelOf(l.level)
	parts = append(parts, paint(colour, name))
	if l.name != "" {
		parts = append(parts, paint(bold, printable(kindSync+"/"+l.name+"."+l.namespace)))
	}
	parts = append(parts, show(l.message))
	for _, key := range slices.Sorted(maps.Keys(l.values)) {
		value := show(l.values[key])
		if strings.ContainsAny(value, " \"=") || value == "" {
			value = strconv.Quote(value)
		}
		parts = append(parts, paint(dim, printable(key)+"=")+value)
	}
	return strings.Join(parts, " ")
}
