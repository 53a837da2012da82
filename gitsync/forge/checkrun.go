package forge

import (
	"fmt"
	"path"
	"strings"
	"unicode/utf8"
)

// CheckRun is the result for a commit with annotations on lines of its files. Only GitHub has them, and only an App can set
// them.
type CheckRun struct {
	Commit Commit
	// Name is the subject, as the context of a status is.
	Name string
	// ExternalID identifies the content. A run that is shown with the same one is not sent again.
	ExternalID string
	State      State
	// Title is one line, Summary and Text are Markdown. Text may be empty.
	Title, Summary, Text string
	// TargetURL is the address of the details, or empty.
	TargetURL   string
	Annotations []Annotation
}

// Annotation is a remark on lines of a file.
type Annotation struct {
	// Path is relative to the root of the repository.
	Path string
	// Line is the first line and EndLine the last one. 0 means the same line.
	Line, EndLine int
	Level         AnnotationLevel
	// Title is one line, and may be empty. Message is text without Markdown.
	Title, Message string
}

// AnnotationLevel is how GitHub shows an annotation.
type AnnotationLevel string

// The levels.
const (
	Notice  AnnotationLevel = "notice"
	Warning AnnotationLevel = "warning"
	Problem AnnotationLevel = "failure"
)

const (
	// MaxAnnotations is how many annotations a run can have here. GitHub takes 50 in a request.
	MaxAnnotations = 500
	// MaxAnnotation is the longest message, in bytes. 50 of them stay far below what GitHub takes in a request.
	MaxAnnotation = 8 << 10
	// MaxTitle is the longest title, in characters. What is longer is cut.
	MaxTitle = 255
)

// Validate rejects a check run that can't be set.
func (c CheckRun) Validate() error {
	if err := c.Commit.Validate(); err != nil {
		return err
	}
	if err := (Status{Context: c.Name, State: c.State}).Validate(); err != nil {
		return err
	}
	fail := func(field, problem, remedy string) error {
		return &ConfigError{Field: field, Problem: problem, Remedy: remedy}
	}
	switch {
	case c.ExternalID == "" || len(c.ExternalID) > MaxTitle || !utf8.ValidString(c.ExternalID):
		return fail("external id", "is empty or too long", "use a hash of the content")
	case strings.TrimSpace(c.Title) == "" || strings.TrimSpace(c.Summary) == "":
		return fail("check run", "has no title or no summary", "write both")
	case len(c.Summary) > MaxComment || len(c.Text) > MaxComment || !utf8.ValidString(c.Summary+c.Text):
		return fail("check run", fmt.Sprintf("has a summary or text that is longer than %d bytes, or is not UTF-8", MaxComment), "shorten it")
	case len(c.Annotations) > MaxAnnotations:
		return fail("check run", fmt.Sprintf("has more than %d annotations", MaxAnnotations), "leave out the less important ones")
	}
	for _, a := range c.Annotations {
		if problem := a.problem(); problem != "" {
			return fail("annotation", problem, "leave it out")
		}
	}
	return nil
}

func (a Annotation) problem() string {
	switch {
	case a.Path == "" || path.Clean(a.Path) != a.Path || path.IsAbs(a.Path) || a.Path == ".." || strings.HasPrefix(a.Path, "../") || !utf8.ValidString(a.Path):
		return "has no path in the repository"
	case a.Line < 1 || a.EndLine != 0 && a.EndLine < a.Line:
		return "has no valid lines"
	case a.Level != Notice && a.Level != Warning && a.Level != Problem:
		return "has an unknown level"
	case strings.TrimSpace(a.Message) == "" || len(a.Message) > MaxAnnotation || !utf8.ValidString(a.Message):
		return fmt.Sprintf("has no message, or one of more than %d bytes", MaxAnnotation)
	}
	return ""
}
