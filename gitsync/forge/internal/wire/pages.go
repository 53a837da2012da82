package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/muster-gitops/muster/gitsync/forge"
)

// Pages is a list that the forge answers in pages.
type Pages struct {
	Path  string
	Query url.Values
	// Size is the size of a page, and Parameter the name of the parameter for it. Without one there is a single page.
	Size      int
	Parameter string
	// More reports from an answer's headers whether another page follows. Read is how many elements there were up to here, and
	// Last how many on this page.
	More func(h http.Header, read, last int) bool
}

func (p Pages) request(page, text int, etag string) Request {
	query := maps.Clone(p.Query)
	if query == nil {
		query = url.Values{}
	}
	if p.Parameter != "" {
		query.Set(p.Parameter, strconv.Itoa(p.Size))
		query.Set("page", strconv.Itoa(page))
	}
	return Request{Path: p.Path, Query: query, Text: text, ETag: etag}
}

const (
	// nameText is long enough for names, hashes and addresses, and cuts what people write.
	nameText = 8 << 10
	// commentText cuts no comment that is shorter than what is read: each byte or escape sequence is at least a byte of it.
	commentText = forge.MaxCommentRead
)

// errMany reports more elements than are read.
var errMany = errors.New("too many elements")

// PullRequests reads the open pull requests into the base. Pages that the forge can answer by "not modified" are taken from
// the earlier list. Convert returns false for elements that aren't pull requests.
//
// Every page is asked for, so that no change is missed, however the forge sorts. Nearly always there is one.
func PullRequests[T any](ctx context.Context, c *Conn, p Pages, base string, since *forge.PullRequestList,
	convert func(T) (forge.PullRequest, bool),
) (*forge.PullRequestList, error) {
	list := &forge.PullRequestList{}
	action, read := "list the pull requests into "+base, 0
	for more := true; more; {
		var known forge.PullRequestPage
		if since != nil && len(since.Pages) > len(list.Pages) {
			known = since.Pages[len(list.Pages)]
		}
		page, err := pullRequestPage(ctx, c, p, len(list.Pages)+1, read, known, convert)
		if err == nil && read+page.Read > forge.MaxPullRequests {
			err = errMany
		}
		if errors.Is(err, errMany) {
			return nil, &forge.LimitError{Call: c.call(action), What: "open pull requests into " + base, Limit: forge.MaxPullRequests, Remedy: "close some"}
		}
		if err != nil {
			return nil, c.FailAbout(ctx, PullRequest, action, err)
		}
		list.Pages = append(list.Pages, page)
		read += page.Read
		more = page.More && page.Read > 0
	}
	c.Done()
	list.Items = openInto(base, list.Pages)
	list.Unchanged = since != nil && slices.Equal(list.Items, since.Items)
	return list, nil
}

func pullRequestPage[T any](ctx context.Context, c *Conn, p Pages, number, before int, known forge.PullRequestPage,
	convert func(T) (forge.PullRequest, bool),
) (forge.PullRequestPage, error) {
	page := forge.PullRequestPage{}
	answer, err := Elements(ctx, c, p.request(number, nameText, known.ETag), func(element T) error {
		if page.Read++; page.Read > p.Size {
			return errMany
		}
		if pull, ok := convert(element); ok {
			page.Items = append(page.Items, pull)
		}
		return nil
	})
	if err != nil {
		return page, err
	}
	if answer.Unchanged {
		// A full page was perhaps the last one, and may have got a next one since.
		known.More = known.More || known.Read >= p.Size
		return known, nil
	}
	page.ETag = answer.Header.Get("ETag")
	page.More = p.More(answer.Header, before+page.Read, page.Read)
	return page, nil
}

// openInto returns the open ones into that base, by number and each once: pages shift when a list changes between requests.
func openInto(base string, pages []forge.PullRequestPage) []forge.PullRequest {
	var items []forge.PullRequest
	for _, page := range pages {
		for _, item := range page.Items {
			if item.Open && item.Base == base {
				items = append(items, item)
			}
		}
	}
	slices.SortStableFunc(items, func(a, b forge.PullRequest) int { return cmp.Compare(a.Number, b.Number) })
	return slices.CompactFunc(items, func(a, b forge.PullRequest) bool { return a.Number == b.Number })
}

// MergedAs reads the pull requests that are associated with a commit, and returns those that were merged into the base. Convert
// returns false for those whose merge didn't make this commit.
func MergedAs[T any](ctx context.Context, c *Conn, p Pages, commit forge.Commit, base string, convert func(T) (forge.PullRequest, bool)) ([]forge.PullRequest, error) {
	if err := ValidateMerge(commit, base); err != nil {
		return nil, err
	}
	action, read := "find the pull request that was merged as "+commit.String(), 0
	var found []forge.PullRequest
	for number, more := 1, true; more; number++ {
		page, err := pullRequestPage(ctx, c, p, number, read, forge.PullRequestPage{}, convert)
		if err == nil && read+page.Read > forge.MaxPullRequests {
			err = errMany
		}
		if errors.Is(err, errMany) {
			return nil, &forge.LimitError{Call: c.call(action), What: "pull requests with the commit", Limit: forge.MaxPullRequests, Remedy: "approve with the annotation"}
		}
		if err != nil {
			return nil, c.FailAbout(ctx, PullRequest, action, err)
		}
		found = append(found, page.Items...)
		read += page.Read
		more = page.More && page.Read > 0
	}
	c.Done()
	return MergedInto(base, found), nil
}

// ValidateMerge rejects what can't be a commit of a branch.
func ValidateMerge(commit forge.Commit, base string) error {
	if err := commit.Validate(); err != nil {
		return err
	}
	return forge.ValidateBranch(base)
}

// MergedInto returns those that were merged into that base, by number and each once.
func MergedInto(base string, items []forge.PullRequest) []forge.PullRequest {
	items = slices.DeleteFunc(items, func(p forge.PullRequest) bool { return !p.Merged || p.Open || p.Base != base })
	slices.SortStableFunc(items, func(a, b forge.PullRequest) int { return cmp.Compare(a.Number, b.Number) })
	return slices.CompactFunc(items, func(a, b forge.PullRequest) bool { return a.Number == b.Number })
}

// OnePullRequest reads one pull request.
func OnePullRequest[T any](ctx context.Context, c *Conn, path string, number int64, convert func(T) (forge.PullRequest, bool)) (forge.PullRequest, error) {
	if err := forge.ValidateNumber("pull request", number); err != nil {
		return forge.PullRequest{}, err
	}
	element, err := Object[T](ctx, c, Request{Path: path, Text: nameText})
	if err == nil {
		if pull, ok := convert(element); ok && pull.Number == number {
			c.Done()
			return pull, nil
		}
		err = ErrNothing
	}
	return forge.PullRequest{}, c.FailAbout(ctx, PullRequest, fmt.Sprintf("read pull request %d", number), err)
}

// Comments reads all comments of a pull request, oldest first. Convert returns false for elements that aren't comments.
func Comments[T any](ctx context.Context, c *Conn, p Pages, number int64, convert func(T) (forge.Comment, bool)) ([]forge.Comment, error) {
	if err := forge.ValidateNumber("pull request", number); err != nil {
		return nil, err
	}
	var all conversation
	for page, more := 1, true; more; page++ {
		before := all.read
		answer, err := Elements(ctx, c, p.request(page, commentText, ""), func(element T) error {
			comment, ok := convert(element)
			return all.add(comment, ok)
		})
		if err != nil {
			return nil, all.fail(ctx, c, number, err)
		}
		more = p.Parameter != "" && all.read > before && p.More(answer.Header, all.read, all.read-before)
	}
	c.Done()
	slices.SortStableFunc(all.comments, func(a, b forge.Comment) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return slices.CompactFunc(all.comments, func(a, b forge.Comment) bool { return a.ID == b.ID }), nil
}

// conversation counts what is read.
type conversation struct {
	comments   []forge.Comment
	read, size int
}

// maxElements bounds the elements that aren't comments, such as GitLab's notes of events.
const maxElements = 5 * forge.MaxComments

var errLong = errors.New("too many bytes")

func (c *conversation) add(comment forge.Comment, ok bool) error {
	c.read++
	switch {
	case c.read > maxElements:
		return errMany
	case !ok:
		return nil
	case len(c.comments) == forge.MaxComments:
		return errMany
	}
	if len(comment.Body) > forge.MaxCommentRead {
		comment.Body = strings.ToValidUTF8(comment.Body[:forge.MaxCommentRead], "")
	}
	if c.size += len(comment.Body); c.size > forge.MaxConversation {
		return errLong
	}
	c.comments = append(c.comments, comment)
	return nil
}

func (c *conversation) fail(ctx context.Context, conn *Conn, number int64, err error) error {
	action := fmt.Sprintf("read the comments of pull request %d", number)
	limit := &forge.LimitError{Call: conn.call(action), What: "comments", Limit: forge.MaxComments, Remedy: "open another pull request for the rest"}
	switch {
	case errors.Is(err, errMany):
		return limit
	case errors.Is(err, errLong):
		limit.What, limit.Limit = "bytes in the comments", forge.MaxConversation
		return limit
	}
	return conn.FailAbout(ctx, PullRequest, action, err)
}

func (c *Conn) call(action string) forge.Call {
	return forge.Call{Provider: c.repository.Provider, Host: c.repository.API.Host, Repository: c.repository.Path, Action: action}
}

// LinkToNext reports whether a page has a link to the next one, as RFC 8288 and GitHub write it. The link itself is never
// followed.
func LinkToNext(h http.Header, _, _ int) bool {
	return strings.Contains(strings.Join(h.Values("Link"), ","), `rel="next"`)
}

// Unknown returns no error if the forge says by this phrase that it knows no such user, who then has no permission. Other
// answers 404 are about the repository.
func Unknown(err error, phrase string) error {
	missing, ok := errors.AsType[*forge.NotFoundError](err)
	if ok && strings.Contains(strings.ToLower(missing.Detail), phrase) {
		return nil
	}
	return err
}

// Account remembers the account of a client's credentials, which doesn't change while the client exists.
type Account struct{ known atomic.Pointer[forge.User] }

// Get asks until there is an answer.
func (a *Account) Get(ask func() (forge.User, error)) (forge.User, error) {
	if known := a.known.Load(); known != nil {
		return *known, nil
	}
	user, err := ask()
	if err == nil {
		a.known.Store(&user)
	}
	return user, err
}
