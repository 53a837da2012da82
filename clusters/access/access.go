// Package access tells who can open the encrypted files of a path, from the files alone.
//
// It reads the recipients that each file names, and compares them with the creation rules of the nearest .sops.yaml. It needs
// no key and decrypts nothing. Unlike package load it reads every file below the path, whether a kustomization uses it or
// not: who can read the repository can open it in any case.
//
// A recipient in a [Report] is in the normal form of package recipient. It may be anything that a file has in its place, even
// a private key: print it with recipient.Show or recipient.Full.
package access

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/recipient"
	"github.com/muster-gitops/muster/clusters/seal"
)

// Report is who can open what.
type Report struct {
	// Files are the encrypted files, by path.
	Files []File
	// Recipients are those of the files, and those that the rules for the files name. Those with names come first.
	Recipients []Recipient
	// Problems are what could not be read, so that something may be missing in the report.
	Problems []Problem
	// TooLarge are files that are too large for Muster, encrypted or not, or have too many values.
	TooLarge []string
}

// File is an encrypted file.
type File struct {
	Path string
	// Recipients is empty if the file names none, or if its sops block is unreadable.
	recipient.Recipients
	// Rule is the place of the creation rule, such as ".sops.yaml:3". It is "" if there is none, or if it names no recipient.
	Rule string
	// Difference is how the file differs from its rule.
	Difference recipient.Difference
}

// Differs reports whether the recipients of a file are not those of its rule, or whether it has none.
func (f File) Differs() bool {
	d := f.Difference
	return f.Empty() || len(d.Missing)+len(d.Extra)+d.Wanted > 0 || d.Grouped
}

// Recipient is what one recipient can open.
type Recipient struct {
	// ID is the recipient in normal form.
	ID, Name string
	// Opens are the files that are encrypted for the recipient.
	Opens []Opening
	// Extra are those of them whose rule doesn't list the recipient, and Missing the files that it can't open although their
	// rule does list it.
	Extra, Missing []string
	// Listed is how many of the files are encrypted for it as their rule says.
	Listed int
	// Places are where a .sops.yaml names the recipient, such as ".sops.yaml:5".
	Places []string
}

// Opening is a file that a recipient can open: alone, or together with others.
type Opening struct {
	Path string
	// More is how many other key groups are needed as well, and Of how many others there are. 0 means that it opens alone.
	More, Of int
}

// Problem is a file or folder that could not be read.
type Problem struct {
	Path   string
	Line   int // 0 if the problem is about all of it
	Reason string
}

// Read reports who can open the files at a path, which is a folder or a file of the repository. Names that are given are
// stronger than those in comments. The error is that of the context, or that of a path that can't be read.
func Read(ctx context.Context, repository fs.FS, at string, names recipient.Names) (*Report, error) {
	r := &reader{repository: repository, names: names, rows: map[string]*Recipient{}, places: map[string][]string{}, read: map[*recipient.Config]bool{}}
	r.configs = recipient.NewConfigs(repository, func(path string, bad *recipient.ConfigError) {
		r.problem(path, bad.Line, bad.Reason)
	})
	err := fs.WalkDir(repository, at, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && name == at:
			return fmt.Errorf("read %s: %w", at, err)
		case err != nil:
			r.problem(name, 0, "the folder can't be read")
		case entry.IsDir() && entry.Name() == ".git":
			return fs.SkipDir
		case entry.Type().IsRegular():
			r.visit(name, entry)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r.finish(), nil
}

// reader collects a report.
type reader struct {
	Report
	repository fs.FS
	configs    *recipient.Configs
	names      recipient.Names
	rows       map[string]*Recipient // by recipient.Key, as places
	places     map[string][]string
	read       map[*recipient.Config]bool
}

func (r *reader) problem(path string, line int, reason string) {
	r.Problems = append(r.Problems, Problem{path, line, reason})
}

// maxMarks bounds the values of a file, because the YAML library needs a hundred bytes for each byte of a small one.
var maxMarks = 3 * load.DefaultLimits.Nodes

// visit reads a file, if it is encrypted.
func (r *reader) visit(name string, entry fs.DirEntry) {
	info, err := entry.Info()
	if err == nil && info.Size() > load.DefaultLimits.FileBytes {
		r.TooLarge = append(r.TooLarge, name)
		return
	}
	var data []byte
	if err == nil {
		data, err = fs.ReadFile(r.repository, name)
	}
	if err != nil {
		r.problem(name, 0, "the file can't be read")
		return
	}
	if !strings.Contains(string(data), "sops") || !seal.IsEncrypted(string(data)) {
		return
	}
	if load.Marks(string(data)) > maxMarks {
		r.TooLarge = append(r.TooLarge, name)
		return
	}
	have, ok := recipient.OfFile(data)
	if !ok && !holdsData(name) {
		return // a text that quotes a sops block
	}
	r.add(File{Path: name, Recipients: have})
}

// holdsData reports whether sops takes a file of this name for more than a text.
func holdsData(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json", ".env", ".ini"}, path.Ext(name))
}

// add compares a file with its rule, and notes what its recipients can open.
func (r *reader) add(f File) {
	if config := r.configs.Above(path.Dir(f.Path)); config != nil {
		r.mentions(config)
		if rule, ok := config.For(f.Path); ok && !rule.Empty() {
			f.Rule = fmt.Sprintf("%s:%d", config.Path, rule.Line)
			f.Difference = recipient.Compare(f.Recipients, rule.Recipients)
		}
	}
	r.Files = append(r.Files, f)
	for _, id := range f.All() {
		row := r.row(id)
		more, of := f.needs(id)
		row.Opens = append(row.Opens, Opening{f.Path, more, of})
		if _, extra := slices.BinarySearch(f.Difference.Extra, id); extra {
			row.Extra = append(row.Extra, f.Path)
		} else if f.Rule != "" {
			row.Listed++
		}
	}
	for _, id := range f.Difference.Missing {
		row := r.row(id)
		row.Missing = append(row.Missing, f.Path)
	}
}

// row returns what is noted about a recipient. Of a PGP key with a long and a short ID, the long one is shown.
func (r *reader) row(id string) *Recipient {
	key := recipient.Key(id)
	row := r.rows[key]
	if row == nil {
		row = &Recipient{}
		r.rows[key] = row
	}
	if len(id) > len(row.ID) {
		row.ID = id
	}
	return row
}

// mentions notes the names and places in a .sops.yaml, once.
func (r *reader) mentions(config *recipient.Config) {
	if r.read[config] {
		return
	}
	r.read[config] = true
	for _, m := range config.Mentions() {
		r.names.Add(m.Recipient, m.Name)
		key := recipient.Key(m.Recipient)
		r.places[key] = append(r.places[key], fmt.Sprintf("%s:%d", config.Path, m.Line))
	}
}

// needs returns how many key groups a recipient needs besides those that it is in, and how many others there are.
func (f File) needs(id string) (more, of int) {
	in := 0
	for _, group := range f.Groups {
		if _, ok := slices.BinarySearch(group, id); ok {
			in++
		}
	}
	if more = f.Threshold - in; more <= 0 {
		return 0, 0
	}
	return more, len(f.Groups) - in
}

func (r *reader) finish() *Report {
	for key, row := range r.rows {
		row.Name, row.Places = r.names.Of(row.ID), slices.Compact(r.places[key])
		r.Recipients = append(r.Recipients, *row)
	}
	slices.SortFunc(r.Recipients, func(a, b Recipient) int {
		if (a.Name == "") != (b.Name == "") {
			return strings.Compare(b.Name, a.Name)
		}
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return &r.Report
}
