package gitsync

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// What people read: the cause first, then the way out.
func TestMessages(t *testing.T) {
	t.Parallel()
	const url = "https://git.example.com/fleet.git"
	for _, tc := range []struct {
		err  error
		want string
	}{
		{&SourceError{Field: "ref.branch", Value: "a..b", Problem: `contains "..", which is not allowed in a ref name`}, `ref.branch "a..b" contains "..", which is not allowed in a ref name`},
		{&SecretError{Key: "password", Problem: "is missing", Remedy: "add it next to username"}, "credentials: password is missing; add it next to username"},
		{&RefNotFoundError{URL: url, Kind: "branch", Name: "mian", Known: []string{"develop", "main"}}, url + ` has no branch "mian"; it has develop, main`},
		{&RefNotFoundError{URL: url, Kind: "version", Name: ">9"}, url + ` has no tag that matches the constraint ">9"`},
		{&RefNotFoundError{URL: url, Kind: "default branch"}, url + " has no default branch"},
		{&NotACommitError{URL: url, Ref: "tag v1", Hash: "0a", Type: "tree"}, "tag v1 of " + url + " points at the tree 0a, not at a commit"},
		{&RemoteError{URL: url, Reason: NotFound, Status: 404}, "read " + url + ": the repository does not exist, or the credentials have no access to it (HTTP 404); check the URL's path and the credentials' access"},
		{&RemoteError{URL: url, Reason: ServerFailed, Status: 503, Detail: "maintenance"}, "read " + url + ": the server failed (HTTP 503): maintenance; try again later, and ask the server's owner if it persists"},
		{&LimitError{What: "file", Name: "big.yaml", Limit: 10, Got: 11}, "file big.yaml: 11 is over the limit of 10"},
		{&SymlinkError{Path: "a", Target: "../b"}, `a is a symbolic link to "../b", and links are not followed`},
		{&SubmoduleError{Path: "a"}, "a is a submodule, and submodules are not fetched"},
		{&CorruptError{Object: "0a", Err: fs.ErrNotExist}, "the cached object 0a is damaged: file does not exist"},
	} {
		if tc.err.Error() != tc.want {
			t.Errorf("got  %s\nwant %s", tc.err, tc.want)
		}
	}
	seen := map[string]Reason{}
	for _, reason := range []Reason{Unreachable, Untrusted, TLSFailed, NoTLS, HostKeyRejected, Unauthorized, Forbidden, NotFound, Empty, NotGit,
		Redirected, TimedOut, RateLimited, ServerFailed, Refused, Unsupported, Protocol} {
		problem, remedy := (&RemoteError{Reason: reason}).explain()
		if problem == "" || remedy == "" || seen[problem] != "" {
			t.Errorf("%s says %q, as %s does", reason, problem, seen[problem])
		}
		seen[problem] = reason
	}
	if !errors.Is(&RemoteError{Err: fs.ErrClosed}, fs.ErrClosed) || !errors.Is(&CorruptError{Err: fs.ErrClosed}, fs.ErrClosed) {
		t.Error("the cause is lost")
	}
}

// The payload has to be the very bytes that were signed, or no signature ever verifies.
func TestSignedCommit(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"f": "1"})
	tree := o.git("rev-parse", "main^{tree}")
	const signature = "-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n\nAAAA\n-----END SSH SIGNATURE-----\n"
	head := "tree " + tree + "\nauthor Ada <ada@example.com> 1700000000 +0100\ncommitter Ada <ada@example.com> 1700000000 +0100\n"
	rest := "x-odd header\n\nSubject \x1b[31mred\n\nBody\n"
	signed := "gpgsig " + strings.ReplaceAll(strings.TrimSuffix(signature, "\n"), "\n", "\n ") + "\n"
	o.git("update-ref", "refs/heads/main", o.hash("commit", head+signed+rest))
	c := fetch(t, open(t, t.TempDir()), Source{URL: serve(t, o).url}).Commit()
	if string(c.SignedPayload) != head+rest {
		t.Errorf("payload %q, want %q", c.SignedPayload, head+rest)
	}
	if strings.TrimSpace(c.Signature) != strings.TrimSpace(signature) {
		t.Errorf("signature %q", c.Signature)
	}
	if c.Subject != "Subject [31mred" {
		t.Errorf("subject %q", c.Subject)
	}
}
