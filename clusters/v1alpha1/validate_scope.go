package v1alpha1

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

func (v *validator) filters(spec Spec) {
	if spec.Filtering != nil && spec.Filtering.Namespaces != nil {
		field := []string{"spec", "filtering", "namespaces"}
		v.patterns(*spec.Filtering.Namespaces, field, "namespaces")
		v.namespacePatterns(*spec.Filtering.Namespaces, field)
	}
	if spec.Repositories != nil {
		field := []string{"spec", "repositories"}
		v.patterns(*spec.Repositories, field, "repositories")
		v.needsImages(spec, field)
	}
}

// needsImages reports a field that only has an effect with image scanning.
func (v *validator) needsImages(spec Spec, field []string) {
	if _, ok := v.mentioned["spec.containerImageScanning"]; !ok && !spec.ContainerImageScanning {
		v.warn(CodeNoImageScanning, field, "has no effect without containerImageScanning", "set containerImageScanning: true, or remove it")
	}
}

// patterns checks rules that hold for every selection by name.
func (v *validator) patterns(p Patterns, field []string, what string) {
	v.list(p.Include, append(slices.Clone(field), "include"))
	v.list(p.Exclude, append(slices.Clone(field), "exclude"))
	if p.Include != nil && len(p.Include) == 0 {
		v.warn(CodeEmptyInclude, append(slices.Clone(field), "include"), "is empty, which selects all "+what+", not none", "remove it, or list what to scan")
	}
	// The operator's rule.
	if len(p.Include) > 0 && len(p.Exclude) > 0 {
		v.warn(CodeFilterOverlap, append(slices.Clone(field), "exclude"), "has no effect together with include", "keep one of the two")
	}
	if len(p.Include) == 0 && slices.Contains(p.Exclude, "*") {
		v.warn(CodePattern, append(slices.Clone(field), "exclude"), "contains the pattern *, so nothing is left to scan", "list what to exclude")
	}
}

func (v *validator) list(patterns []string, field []string) {
	first := map[string]int{}
	for i, pattern := range patterns {
		if v.sealed(pattern) {
			continue
		}
		at := append(slices.Clone(field), fmt.Sprintf("[%d]", i))
		before, repeated := first[pattern]
		switch {
		case strings.TrimSpace(pattern) == "":
			v.fail(CodePattern, at, "is an empty pattern", "write a name or pattern, or remove it")
		case strings.Contains(pattern, ","):
			v.fail(CodePattern, at, "contains a comma, at which the operator splits it into several patterns", "write each pattern as its own item")
		case strings.HasPrefix(pattern, "!"):
			v.fail(CodePattern, at, "starts with !, which does not negate and matches no name", "write the name without ! in the other list, include or exclude")
		case !isGlob(pattern):
			v.fail(CodePattern, at, "has an unclosed bracket or brace, or a trailing \\, which the operator can't parse", "close it, or remove it")
		case repeated:
			v.warn(CodePattern, at, fmt.Sprintf("repeats item [%d]", before), "remove it")
		case strings.ContainsAny(pattern, " \t\r\n"):
			v.warn(CodePattern, at, "contains a blank, which no name has", "write one name or pattern per item")
		}
		if !repeated {
			first[pattern] = i
		}
	}
}

// isGlob reports whether the operator can parse a glob: the syntax of path.Match, with alternatives in braces.
func isGlob(pattern string) bool {
	_, err := path.Match(pattern, "")
	open := strings.Count(pattern, "{")
	return err == nil && open == strings.Count(pattern, "}") && (open == 0 || strings.Index(pattern, "{") < strings.Index(pattern, "}"))
}

// namespacePattern has the characters of a pattern that can match a namespace: those of namespace names, and of globs in the
// usual dialects.
var (
	namespacePattern = regexp.MustCompile(`^[a-z0-9*?\[\]{}!^\\-]*$`)
	globCharacters   = `*?[]{}!^\`
)

func (v *validator) namespacePatterns(p Patterns, field []string) {
	for _, list := range []struct {
		name     string
		patterns []string
	}{{"include", p.Include}, {"exclude", p.Exclude}} {
		for i, pattern := range list.patterns {
			// Some patterns have another problem, reported above.
			if v.sealed(pattern) || strings.ContainsAny(pattern, " \t\r\n,") || strings.HasPrefix(pattern, "!") || !isGlob(pattern) {
				continue
			}
			isName := !strings.ContainsAny(pattern, globCharacters)
			if !namespacePattern.MatchString(pattern) || isName && pattern != "" && !namespace.MatchString(pattern) {
				v.warn(CodePattern, append(slices.Clone(field), list.name, fmt.Sprintf("[%d]", i)), "matches no namespace: names have at most 63 lower-case letters, digits and dashes", "correct or remove it")
			}
		}
	}
}

func (v *validator) registries(spec Spec) {
	registries, pasted := spec.PrivateRegistries, spec.PrivateRegistriesPullSecretRef
	field := []string{"spec", "privateRegistries"}
	at := func(name string) []string { return append(slices.Clone(field), name) }
	v.secretRef(pasted, "spec", "privateRegistriesPullSecretRef")
	if pasted != nil {
		v.needsImages(spec, []string{"spec", "privateRegistriesPullSecretRef"})
	}
	if registries == nil {
		return
	}
	v.exclusive(registries.DockerConfigJSON, registries.SecretRef, at, "dockerConfigJson", "secretRef")
	v.vaultSource(registries.From, at("from")...)
	switch inline := registries.DockerConfigJSON != "" || registries.SecretRef != nil; {
	case inline && registries.From != nil:
		v.fail(CodeConflict, at("from"), "excludes dockerConfigJson and secretRef", "keep one of them")
	case !inline && registries.From == nil:
		v.missing("set dockerConfigJson, secretRef or from", at("dockerConfigJson")...)
	}
	if pasted != nil {
		v.fail(CodeConflict, []string{"spec", "privateRegistriesPullSecretRef"}, "excludes privateRegistries", "keep one of the two")
	}
	v.needsImages(spec, field)
}
