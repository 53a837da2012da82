package main

import (
	"github.com/muster-gitops/muster/clusters/access"
	"github.com/muster-gitops/muster/clusters/recipient"
)

// recipientJSON is a recipient in -o json. Paths are relative to the root of the repository.
type recipientJSON struct {
	Recipient string        `json:"recipient"`
	Name      string        `json:"name,omitempty"`
	Kind      string        `json:"kind,omitempty"`
	Files     []openingJSON `json:"files"`
	// Extra are those of the files whose rule doesn't list the recipient, and Missing the files that it should open.
	Extra   []string `json:"extra"`
	Missing []string `json:"missing"`
	// SopsConfig are the places that name the recipient.
	SopsConfig []string `json:"sopsConfig"`
}

// openingJSON is a file that a recipient opens, together with More of Of other key groups.
type openingJSON struct {
	Path string `json:"path"`
	More int    `json:"more,omitempty"`
	Of   int    `json:"of,omitempty"`
}

// accessFileJSON is an encrypted file in -o json.
type accessFileJSON struct {
	Path      string     `json:"path"`
	Rule      string     `json:"rule,omitempty"`
	Differs   bool       `json:"differs"`
	Threshold int        `json:"threshold,omitempty"`
	Groups    [][]string `json:"groups"`
	Missing   []string   `json:"missing"`
	Extra     []string   `json:"extra"`
}

type accessProblemJSON struct {
	Path    string `json:"path"`
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
}

type accessJSON struct {
	Path       string              `json:"path"`
	Recipients []recipientJSON     `json:"recipients"`
	Files      []accessFileJSON    `json:"files"`
	Problems   []accessProblemJSON `json:"problems"`
	TooLarge   []string            `json:"tooLarge"`
}

func (l accessListing) json() accessJSON {
	out := accessJSON{Path: l.path, Recipients: []recipientJSON{}, Files: []accessFileJSON{}, Problems: []accessProblemJSON{}, TooLarge: append([]string{}, l.TooLarge...)}
	for _, r := range l.Recipients {
		x := recipientJSON{Recipient: recipient.Full(r.ID), Name: r.Name, Kind: recipient.Kind(r.ID), Files: []openingJSON{},
			Extra: append([]string{}, r.Extra...), Missing: append([]string{}, r.Missing...), SopsConfig: append([]string{}, r.Places...)}
		for _, o := range r.Opens {
			x.Files = append(x.Files, openingJSON(o))
		}
		out.Recipients = append(out.Recipients, x)
	}
	for _, f := range l.Files {
		out.Files = append(out.Files, fileJSON(f))
	}
	for _, p := range l.Problems {
		out.Problems = append(out.Problems, accessProblemJSON{p.Path, p.Line, p.Reason})
	}
	return out
}

func fileJSON(f access.File) accessFileJSON {
	x := accessFileJSON{Path: f.Path, Rule: f.Rule, Differs: f.Differs(), Groups: [][]string{}, Missing: full(f.Difference.Missing), Extra: full(f.Difference.Extra)}
	for _, group := range f.Groups {
		x.Groups = append(x.Groups, full(group))
	}
	if len(f.Groups) > 1 {
		x.Threshold = f.Threshold
	}
	return x
}

// full are recipients in a form that is safe to print.
func full(ids []string) []string {
	list := []string{}
	for _, id := range ids {
		list = append(list, recipient.Full(id))
	}
	return list
}
