package setup

import (
	"fmt"
	"strings"
)

// text is a value with variables in it.
type text []part

// part is literal, or the name of a variable.
type part struct{ literal, variable string }

func lit(value string) text { return text{{literal: value}} }

func join(texts ...text) text {
	var all text
	for _, t := range texts {
		all = append(all, t...)
	}
	return all
}

// shell returns one word of a shell command. Within single quotes a shell expands nothing, not even the history.
func (t text) shell() string {
	var b strings.Builder
	for _, p := range t {
		if p.variable != "" {
			b.WriteString(`"${` + strings.ToUpper(p.variable) + `:?}"`)
			continue
		}
		b.WriteString(Quote(p.literal))
	}
	return b.String()
}

// Quote returns a value as one word of a shell command.
func Quote(value string) string {
	value = strings.ReplaceAll(value, "\x00", "\uFFFD") // no word can hold it
	plain := strings.Trim(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@") == ""
	if plain && value != "" {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// yaml returns the value for a manifest. Variables have the form of envsubst and of Flux's substitutions.
func (t text) yaml() string {
	var b strings.Builder
	for _, p := range t {
		if p.variable != "" {
			b.WriteString("${" + strings.ToUpper(p.variable) + "}")
			continue
		}
		b.WriteString(p.literal)
	}
	return b.String()
}

// sh returns a command in which each value is one word, or the end of one.
func sh(format string, values ...text) string {
	words := make([]any, len(values))
	for i, v := range values {
		words[i] = v.shell()
	}
	return fmt.Sprintf(format, words...)
}
