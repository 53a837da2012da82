package wire

import (
	"time"

	"github.com/muster-gitops/muster/gitsync/forge"
)

// IssueComment has the used fields of a comment in GitHub's API, whose form Gitea's has too.
type IssueComment struct {
	ID      int64     `json:"id"`
	User    *Login    `json:"user"`
	Body    string    `json:"body"`
	Created time.Time `json:"created_at"`
	Updated time.Time `json:"updated_at"`
}

// Login has the used fields of an account in both.
type Login struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
}

// Value is the comment. A deleted user has no account, or on Gitea one with the id -1.
func (c IssueComment) Value() (forge.Comment, bool) {
	value := forge.Comment{ID: c.ID, Body: c.Body, Created: c.Created, Updated: c.Updated}
	if c.User != nil && c.User.ID > 0 {
		value.AuthorID, value.Author = c.User.ID, c.User.Login
	}
	return value, c.ID > 0
}
