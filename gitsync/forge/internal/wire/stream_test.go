package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/muster-gitops/muster/gitsync/forge"
)

func TestShorten(t *testing.T) {
	for _, tt := range []struct{ reason, in, want string }{
		{"short", `{"a": "bcd", "e": ["f", 1.5, null]}`, `{"a": "bcd", "e": ["f", 1.5, null]}`},
		{"long", `{"a": "bcdefgh"}`, `{"a": "bcde"}`},
		{"an escape is one", `["\n\u00e9\"\\x"]`, `["\n\u00e9\"\\"]`},
		{"an escaped quote in what is cut", `["abcde\"f", "g"]`, `["abcd", "g"]`},
		{"an escaped backslash at the end of what is cut", `["abcde\\", "g"]`, `["abcd", "g"]`},
		{"a unicode escape in what is cut", `["abcde\u0022", "g"]`, `["abcd", "g"]`},
		{"no end", `["abcdefgh`, `["abcd`},
		{"an escape that is none", `["\x"]`, `["\x"]`},
		{"outside of strings", `123456789`, `123456789`},
	} {
		for _, reader := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)), iotest.DataErrReader(strings.NewReader(tt.in))} {
			got, err := io.ReadAll(shorten(io.NopCloser(reader), 4))
			if err != nil || string(got) != tt.want {
				t.Errorf("%s: %s, %v, want %s", tt.reason, got, err, tt.want)
			}
		}
	}
}

// Whatever a text is, it is cut and nothing else is: the rest of the answer stays as it was.
func TestShortenAnyText(t *testing.T) {
	letters := []rune("ab\"\\\n\t</&é日🚀\u2028\u0000")
	for range 2000 {
		text := make([]rune, rand.N(20))
		for i := range text {
			text[i] = letters[rand.N(len(letters))]
		}
		in, err := json.Marshal([]string{string(text), "end"})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		if err := json.NewDecoder(shorten(io.NopCloser(strings.NewReader(string(in))), 6)).Decode(&out); err != nil || len(out) != 2 || out[1] != "end" {
			t.Fatalf("%s: %q, %v", in, out, err)
		}
		if kept := strings.TrimRight(out[0], "\ufffd"); !strings.HasPrefix(string(text), kept) || len(string(text)) <= 6 && out[0] != string(text) {
			t.Fatalf("%s: %q", in, out)
		}
	}
}

func serve(t *testing.T, h http.HandlerFunc) *Conn {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return conn(t, server.URL)
}

type element struct{ Number int }

func read(t *testing.T, c *Conn) (n int, err error) {
	_, err = Elements(t.Context(), c, Request{Path: "/x", Text: 10}, func(element) error { n++; return nil })
	if err != nil {
		err = c.Fail(t.Context(), "read", err)
	}
	return n, err
}

// The texts of an answer may be longer than any other answer, and cost no memory.
func TestStreamOfLongTexts(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		long := strings.Repeat("x", 1<<20)
		for i := range 60 {
			fmt.Fprintf(w, `%c{"number": %d, "body": "`, "[,"[min(i, 1)], i)
			_, _ = io.WriteString(w, long) // formatting would allocate it
			_, _ = io.WriteString(w, `"}`)
		}
		_, _ = io.WriteString(w, "]")
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := read(t, c)
	runtime.ReadMemStats(&after)
	if err != nil || n != 60 {
		t.Fatalf("%d, %v", n, err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 { // the server's text of 1 MiB is in it
		t.Errorf("%d MiB were allocated", used>>20)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	forever := func(w io.Writer, chunk string) {
		for {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	}
	for _, tt := range []struct{ reason, start, says, again string }{
		{"a text without end", `[{"body": "`, "than 128 MiB", strings.Repeat("x", 1<<16)},
		{"an element without end", `[{"more": [`, "than 2 MiB", strings.Repeat("1,", 1<<16)},
		{"spaces without end", `[`, "than 2 MiB", strings.Repeat(" ", 1<<16)},
		{"elements without end", `[`, "than 128 MiB", strings.Repeat(`{"number": 1, "body": "`+strings.Repeat("x", 1<<13)+`"},`, 1<<4)},
	} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, tt.start)
			forever(w, tt.again)
		})
		_, err := read(t, c)
		if _, ok := errors.AsType[*forge.AnswerError](err); !ok || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.reason, err)
		}
	}
}

// Other answers stay as small as they were.
func TestOnlyStreamsAreLong(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat(" ", 3<<20)) })
	res, err := c.Get(t.Context(), "/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if n, err := io.Copy(io.Discard, res.Body); n != maxAnswer || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
