package gitsync

import (
	"io"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Commit is the metadata of a commit. None of it is proven unless a Verifier has verified the signature.
type Commit struct {
	// Hash is the SHA-1, 40 hex digits in lower case.
	Hash string
	// Author wrote the change, Committer added it to the history.
	Author, Committer Person
	// Subject is the message's first line, made printable and at most 200 characters long.
	Subject string
	// Signature is the armored PGP or SSH signature, or empty. SignedPayload is the bytes that it covers, exactly as they
	// were signed.
	Signature     string
	SignedPayload []byte
}

// Person is an author or a committer.
type Person struct {
	Name, Email string
	When        time.Time
}

func commitInfo(c *object.Commit) (Commit, error) {
	payload := &plumbing.MemoryObject{}
	if err := c.EncodeWithoutSignature(payload); err != nil {
		return Commit{}, err
	}
	r, err := payload.Reader()
	if err != nil {
		return Commit{}, err
	}
	signed, err := io.ReadAll(r)
	if err != nil {
		return Commit{}, err
	}
	subject, _, _ := strings.Cut(strings.TrimLeft(c.Message, "\r\n"), "\n")
	return Commit{
		Hash:      c.Hash.String(),
		Author:    person(c.Author),
		Committer: person(c.Committer),
		Subject:   tidy(subject),
		Signature: c.PGPSignature, SignedPayload: signed,
	}, nil
}

func person(s object.Signature) Person {
	return Person{Name: tidy(s.Name), Email: tidy(s.Email), When: s.When}
}
