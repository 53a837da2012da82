package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
)

// maxStream bounds an answer that is read as a stream. Anyone may write the texts of pull requests and comments, and 100 pull
// requests of GitHub with the longest possible texts are some 80 MiB. So texts are cut as they come in, each element is
// decoded on its own, and only maxAnswer of one is ever in memory.
const maxStream = 128 << 20

type streamKey struct{}

func streamed(ctx context.Context) bool { return ctx.Value(streamKey{}) != nil }

// Request is a request whose answer is read as a stream.
type Request struct {
	Path  string // escaped, and relative to the API's address
	Query url.Values
	// Text is after how many bytes strings of the answer are cut. An escape sequence counts as one.
	Text int
	// ETag is that of an earlier answer, or empty.
	ETag string
}

// Answer is what came with the content.
type Answer struct {
	Header http.Header
	// Unchanged reports that the answer is the earlier one, and has no content.
	Unchanged bool
}

// Elements reads a list, and calls the function with each element that isn't null, until it returns an error.
func Elements[T any](ctx context.Context, c *Conn, r Request, each func(T) error) (Answer, error) {
	res, err := c.stream(ctx, r)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	answer := Answer{Header: res.Header, Unchanged: res.StatusCode == http.StatusNotModified}
	if answer.Unchanged {
		return answer, nil
	}
	part := &limited{body: shorten(res.Body, r.Text), most: maxAnswer, left: maxAnswer}
	decoder := json.NewDecoder(part)
	start, err := decoder.Token()
	if errors.Is(err, io.EOF) || err == nil && start != json.Delim('[') {
		return Answer{}, ErrNothing
	}
	if err != nil {
		return Answer{}, err
	}
	for decoder.More() {
		part.left = maxAnswer // for this element
		var element *T
		if err := decoder.Decode(&element); err != nil {
			return Answer{}, err
		}
		if element == nil {
			continue
		}
		if err := each(*element); err != nil {
			return Answer{}, err
		}
	}
	_, err = decoder.Token() // an answer that breaks off has no end
	return answer, err
}

// Object reads one object.
func Object[T any](ctx context.Context, c *Conn, r Request) (T, error) {
	var object *T
	var none T
	res, err := c.stream(ctx, r)
	if err != nil {
		return none, err
	}
	defer func() { _ = res.Body.Close() }()
	err = json.NewDecoder(&limited{body: shorten(res.Body, r.Text), most: maxAnswer, left: maxAnswer}).Decode(&object)
	if err == nil && object == nil {
		err = ErrNothing
	}
	if err != nil {
		return none, err
	}
	return *object, nil
}

func (c *Conn) stream(ctx context.Context, r Request) (*http.Response, error) {
	req, err := c.request(context.WithValue(ctx, streamKey{}, true), r.Path, r.Query)
	if err != nil {
		return nil, err
	}
	if r.ETag != "" {
		req.Header.Set("If-None-Match", r.ETag)
	}
	return c.client.Do(req)
}

// shortened is JSON whose strings are cut after so many bytes. What is cut is never in memory.
type shortened struct {
	io.ReadCloser
	most     int
	inString bool
	length   int // of the string so far
	escape   int // how many bytes of an escape sequence are left
}

func shorten(body io.ReadCloser, most int) io.ReadCloser {
	return &shortened{ReadCloser: body, most: most}
}

func (s *shortened) Read(p []byte) (int, error) {
	for {
		n, err := s.ReadCloser.Read(p)
		kept := p[:0]
		for rest := p[:n]; len(rest) > 0; {
			plain := s.plain(rest)
			kept = append(kept, plain[:max(0, min(len(plain), s.most-s.length))]...)
			s.length += len(plain)
			if rest = rest[len(plain):]; len(rest) > 0 {
				if s.keep(rest[0]) {
					kept = append(kept, rest[0])
				}
				rest = rest[1:]
			}
		}
		if len(kept) > 0 || err != nil || len(p) == 0 {
			return len(kept), err
		}
	}
}

// plain returns what of a string comes before its end and its next escape sequence. Almost all of a long answer is such text.
func (s *shortened) plain(p []byte) []byte {
	if !s.inString || s.escape > 0 {
		return nil
	}
	p = p[:min(len(p), 512)] // so that text of escape sequences alone isn't searched through for each of them
	for _, end := range []byte(`"\`) {
		if i := bytes.IndexByte(p, end); i >= 0 {
			p = p[:i]
		}
	}
	return p
}

// keep never cuts within an escape sequence, which would not be JSON. A cut within a character decodes to U+FFFD.
func (s *shortened) keep(b byte) bool {
	if !s.inString {
		s.inString, s.length, s.escape = b == '"', 0, 0
		return true
	}
	inEscape := s.escape > 0
	switch {
	case s.escape == escapeStart && b == 'u':
		s.escape = 4
	case s.escape == escapeStart:
		s.escape = 0
	case inEscape:
		s.escape--
	case b == '"':
		s.inString = false
		return true
	case b == '\\':
		s.escape = escapeStart
	}
	if !inEscape {
		s.length++
	}
	return s.length <= s.most
}

// escapeStart means that only the backslash has been read.
const escapeStart = 5
