package gitsync

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

const secretWord = "s3cr3t-w0rd"

func basicAuth(t testing.TB, url string) Auth {
	t.Helper()
	a, err := AuthFromSecret(url, map[string][]byte{"username": []byte("robot"), "password": []byte(secretWord + "\n")})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Servers that fail in every way. The second fetch of each row goes to the good server again:
// nothing that a bad answer leaves behind may stand in its way.
func TestBadServers(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"f": "1"})
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a redirect to another host was followed")
	}))
	t.Cleanup(elsewhere.Close)
	echo := func(r *http.Request) string {
		user, password, _ := r.BasicAuth()
		return fmt.Sprintf("you sent %s, that is %s and %s", r.Header.Get("Authorization"), user, password)
	}
	answer := func(status int) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, _ http.Handler) { http.Error(w, echo(r), status) }
	}
	listing := func(body string) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", advertised)
			_, _ = io.WriteString(w, body)
		}
	}
	onPost := func(f func(http.ResponseWriter, *http.Request, http.Handler)) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, backend http.Handler) {
			if r.Method == http.MethodPost {
				f(w, r, backend)
				return
			}
			backend.ServeHTTP(w, r)
		}
	}
	// Only when the body is read does the server notice that the client has gone.
	hang := func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}

	for name, tc := range map[string]struct {
		around func(http.ResponseWriter, *http.Request, http.Handler)
		reason Reason
		says   string
	}{
		"401":              {answer(401), Unauthorized, "rejected the credentials (HTTP 401): you sent Basic ***, that is robot and ***"},
		"403":              {answer(403), Forbidden, "have no access"},
		"404":              {answer(404), NotFound, "does not exist"},
		"410":              {answer(410), NotFound, "does not exist"},
		"418":              {answer(418), NotGit, "HTTP 418"},
		"500":              {answer(500), ServerFailed, "HTTP 500"},
		"503":              {answer(503), ServerFailed, "HTTP 503"},
		"403 for the pack": {onPost(answer(403)), Forbidden, "have no access"},
		"404 for the pack": {onPost(answer(404)), NotFound, "does not exist"},
		"429": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Retry-After", "17")
			w.WriteHeader(429)
		}, RateLimited, "rate"},
		"a web page": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<html>sign in</html>")
		}, NotGit, `content type is "text/html`},
		"a dumb server": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, strings.Repeat("0a", 20)+"\trefs/heads/main\n")
		}, NotGit, "not the address of a Git repository"},
		"CVE-2026-41506: a redirect to another host": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, strings.Replace(elsewhere.URL, "//", "//u:"+secretWord+"@", 1)+r.URL.Path+"?token="+secretWord, 302)
		}, Redirected, "redirects to " + elsewhere.URL + "/" + originName + ","},
		"a redirect to another scheme": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, "https://"+r.Host+r.URL.Path, 301)
		}, Redirected, "redirects to https://"},
		"a redirect to a page": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			if r.URL.Path != "/login" {
				http.Redirect(w, r, "/login", 302)
			}
		}, Redirected, "/login"},
		"redirects in a loop": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, r.URL.String(), 302)
		}, Unreachable, "in a loop"},
		"a redirect for the pack": {onPost(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, r.URL.Path, 307)
		}), Redirected, "redirects to"},
		"a hung server":                       {hang, TimedOut, "did not answer in time"},
		"a server that hangs before the pack": {onPost(hang), TimedOut, "did not answer in time"},
		"a server that hangs in the pack": {onPost(func(w http.ResponseWriter, r *http.Request, backend http.Handler) {
			cut(w, r, backend, 100)
			<-r.Context().Done()
		}), TimedOut, "did not answer in time"},
		"nothing":                  {listing(""), Protocol, "empty input"},
		"an empty repository":      {listing("001e# service=git-upload-pack\n00000000"), Empty, "no commits"},
		"a listing of garbage":     {listing("zzzz"), Protocol, "violates the Git protocol"},
		"a listing that is cut":    {listing("001e# service=git-upload-pack\n0000004a" + strings.Repeat("0a", 20)), Unreachable, "unexpected EOF"},
		"an error for a listing":   {listing("001e# service=git-upload-pack\n0000001eERR the disk is on fire\n0000"), ServerFailed, "the disk is on fire"},
		"a SHA-256 repository":     {listing(pkt("# service=git-upload-pack\n") + "0000" + pkt(strings.Repeat("0a", 32)+" HEAD\x00object-format=sha256\n") + "0000"), Unsupported, "SHA-256"},
		"a pack that is cut":       {onPost(func(w http.ResponseWriter, r *http.Request, b http.Handler) { cut(w, r, b, 150) }), Unreachable, "EOF"},
		"an empty answer":          {onPost(func(http.ResponseWriter, *http.Request, http.Handler) {}), Protocol, ""},
		"a pack of garbage":        {onPost(reply(pkt("shallow "+strings.Repeat("0a", 20)) + "0000" + pkt("NAK\n") + pkt("\x01JUNKJUNKJUNKJUNK") + "0000")), Protocol, "malformed pack file signature"},
		"an error in the pack":     {onPost(reply("0000" + pkt("NAK\n") + pkt("\x03out of memory, "+secretWord) + "0000")), ServerFailed, "out of memory, ***"},
		"an error for the pack":    {onPost(reply(pkt("ERR upload-pack: not our ref " + strings.Repeat("0a", 20)))), Refused, "not our ref"},
		"control characters":       {onPost(reply(pkt("ERR \x1b[31mred\x00\r\nline two"))), ServerFailed, "[31mred line two"},
		"a message without an end": {onPost(reply(pkt("ERR " + strings.Repeat("a", 5000)))), ServerFailed, strings.Repeat("a", 200) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t, o)
			r := open(t, t.TempDir())
			src := Source{URL: srv.url, Auth: basicAuth(t, srv.url)}
			srv.answerWith(tc.around)
			_, err := r.Fetch(t.Context(), patientBut(src, tc.reason, 2*time.Second))
			var remote *RemoteError
			if !errors.As(err, &remote) {
				t.Fatalf("got %T %v", err, err)
			}
			if remote.Reason != tc.reason || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %s: %v", remote.Reason, err)
			}
			if strings.Contains(err.Error(), secretWord) || strings.Contains(err.Error(), base64.StdEncoding.EncodeToString([]byte("robot:"+secretWord))) {
				t.Errorf("the error tells the secret: %v", err)
			}
			if name == "429" && remote.RetryAfter != 17*time.Second {
				t.Errorf("retry after %v", remote.RetryAfter)
			}
			if left, _ := os.ReadDir(r.dir); len(left) != 0 {
				t.Errorf("left on disk: %v", left)
			}
			srv.answerWith(nil)
			fetch(t, r, src)
		})
	}
}

// patientBut gives a fetch that is to time out little time, and any other as much as a busy machine may need.
func patientBut(src Source, reason Reason, little time.Duration) Source {
	if src.Timeout = time.Minute; reason == TimedOut {
		src.Timeout = little
	}
	return src
}

func pkt(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }

func reply(body string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { _, _ = io.WriteString(w, body) }
}

// cut passes on the first n bytes of the backend's answer as if there were more, and hangs up.
func cut(w http.ResponseWriter, r *http.Request, backend http.Handler, n int) {
	rec := httptest.NewRecorder()
	backend.ServeHTTP(rec, r)
	w.Header().Set("Content-Length", fmt.Sprint(rec.Body.Len()))
	_, _ = w.Write(rec.Body.Bytes()[:n])
	w.(http.Flusher).Flush()
}

// After a failed fetch the snapshot is what it was, and the next good fetch has the new commit.
func TestLastGoodSnapshotOutlivesFailures(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"f": "1"})
	srv, r := serve(t, o), open(t, t.TempDir())
	good := fetch(t, r, Source{URL: srv.url})
	o.commit("main", map[string]string{"f": "2"})
	for name, around := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"down": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(502) },
		"cut": func(w http.ResponseWriter, r *http.Request, b http.Handler) {
			if r.Method == http.MethodPost {
				cut(w, r, b, 120)
				return
			}
			b.ServeHTTP(w, r)
		},
	} {
		srv.answerWith(around)
		if _, err := r.Fetch(t.Context(), Source{URL: srv.url}); err == nil {
			t.Errorf("%s: no error", name)
		}
		if content(t, good, "f") != "1" {
			t.Errorf("%s: the snapshot changed", name)
		}
	}
	srv.answerWith(nil)
	if s := fetch(t, r, Source{URL: srv.url}); content(t, s, "f") != "2" {
		t.Error("not recovered")
	}
}

// nobodys is an address on which nobody listens. A port that was free a moment ago may be somebody's by now.
const nobodys = "127.0.0.1:1"

func TestUnreachable(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })

	for _, tc := range []struct {
		url    string
		reason Reason
	}{
		{"http://" + nobodys + "/r.git", Unreachable},
		{"https://does-not-exist.invalid/r.git", Unreachable},
		{"http://" + mute.Addr().String() + "/r.git", TimedOut},
		{"https://" + mute.Addr().String() + "/r.git", TimedOut},
	} {
		_, err := open(t, t.TempDir()).Fetch(t.Context(), patientBut(Source{URL: tc.url}, tc.reason, 500*time.Millisecond))
		var remote *RemoteError
		if !errors.As(err, &remote) || remote.Reason != tc.reason || remote.URL != tc.url || !remote.Anonymous {
			t.Errorf("%s: %v", tc.url, err)
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"f": "1"})
	plain := serve(t, o)
	srv := httptest.NewTLSServer(plain.handler(t, o))
	t.Cleanup(srv.Close)
	srv.Config.ErrorLog = nil
	address := srv.URL + "/" + originName
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	trusted, err := AuthFromSecret(address, map[string][]byte{"caFile": ca})
	if err != nil {
		t.Fatal(err)
	}
	fetch(t, open(t, t.TempDir()), Source{URL: address, Auth: trusted})

	for name, tc := range map[string]struct {
		url    string
		auth   Auth
		reason Reason
		advice string
	}{
		"an unknown authority":      {address, Auth{}, Untrusted, "caFile"},
		"a name not in certificate": {strings.Replace(address, "127.0.0.1", "localhost", 1), trusted, TLSFailed, "names"},
		"plain HTTP on the port":    {strings.Replace(plain.url, "http://", "https://", 1), trusted, NoTLS, "port"},
	} {
		_, err := open(t, t.TempDir()).Fetch(t.Context(), Source{URL: tc.url, Auth: tc.auth})
		var remote *RemoteError
		if !errors.As(err, &remote) || remote.Reason != tc.reason {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, remedy := remote.explain(); !strings.Contains(remedy, tc.advice) {
			t.Errorf("%s: advice that doesn't help: %s", name, remedy)
		}
	}
}

func TestCredentialsAreSent(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"f": "1"})
	srv := serve(t, o)
	for _, tc := range map[string]struct {
		data map[string][]byte
		want string
	}{
		"basic":  {map[string][]byte{"username": []byte("robot"), "password": []byte("pw")}, "Basic " + base64.StdEncoding.EncodeToString([]byte("robot:pw"))},
		"bearer": {map[string][]byte{"bearerToken": []byte("tok")}, "Bearer tok"},
	} {
		auth, err := AuthFromSecret(srv.url, tc.data)
		if err != nil {
			t.Fatal(err)
		}
		srv.answerWith(func(w http.ResponseWriter, r *http.Request, backend http.Handler) {
			if r.Header.Get("Authorization") != tc.want {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			r.Header.Del("Authorization")
			backend.ServeHTTP(w, r)
		})
		fetch(t, open(t, t.TempDir()), Source{URL: srv.url, Auth: auth})
	}
	srv.answerWith(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusUnauthorized) })
	_, err := open(t, t.TempDir()).Fetch(t.Context(), Source{URL: srv.url})
	if err == nil || !strings.Contains(err.Error(), "requires credentials") {
		t.Errorf("anonymous: %v", err)
	}
}

// A renamed repository: the listing is redirected, and the pack is asked for at the new path.
func TestRedirectWithinTheServer(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"f": "1"})
	srv := serve(t, o)
	srv.answerWith(func(w http.ResponseWriter, r *http.Request, backend http.Handler) {
		if rest, ok := strings.CutPrefix(r.URL.Path, "/old/name.git"); ok {
			http.Redirect(w, r, "/"+originName+rest+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
			return
		}
		backend.ServeHTTP(w, r)
	})
	fetch(t, open(t, t.TempDir()), Source{URL: srv.URL + "/old/name.git", Auth: basicAuth(t, srv.url)})
}

func TestSameServer(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"https://h/a", "https://H:443/b", true},
		{"http://h:80/a", "http://h/b", true},
		{"https://h/a", "http://h/a", false},
		{"http://h/a", "https://h/a", false},
		{"https://h/a", "https://h:8443/a", false},
		{"https://h/a", "https://sub.h/a", false},
	} {
		a, _ := url.Parse(tc.a)
		b, _ := url.Parse(tc.b)
		if sameServer(a, b) != tc.same {
			t.Errorf("%s and %s", tc.a, tc.b)
		}
	}
}

func TestEmptyRepository(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	r := open(t, t.TempDir())
	url := serve(t, o).url
	_, err := r.Fetch(t.Context(), Source{URL: url})
	var remote *RemoteError
	if !errors.As(err, &remote) || remote.Reason != Empty {
		t.Fatalf("got %v", err)
	}
	o.commit("main", map[string]string{"f": "1"})
	fetch(t, r, Source{URL: url})
}

// The commit is what was asked for, or nothing: a server that sends another pack gains nothing by it.
func TestServerThatSendsAnotherCommit(t *testing.T) {
	t.Parallel()
	good, evil := newOrigin(t), newOrigin(t)
	asked := good.commit("main", map[string]string{"f": "good"})
	other := evil.commit("main", map[string]string{"f": "evil"})
	srv := serve(t, good)
	evilBackend := gitBackend(t, evil)
	srv.answerWith(func(w http.ResponseWriter, r *http.Request, backend http.Handler) {
		if r.Method != http.MethodPost {
			backend.ServeHTTP(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		body = bytes.ReplaceAll(body, []byte(asked), []byte(other))
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		evilBackend.ServeHTTP(w, r)
	})
	for _, ref := range []Ref{{Branch: "main"}, {Commit: asked}} {
		s, err := open(t, t.TempDir()).Fetch(t.Context(), Source{URL: srv.url, Ref: ref})
		if err == nil {
			t.Fatalf("%+v gave %s", ref, content(t, s, "f"))
		}
		var remote *RemoteError
		var lost *RefNotFoundError
		if !errors.As(err, &lost) && (!errors.As(err, &remote) || remote.Reason != Protocol) {
			t.Errorf("%+v: %v", ref, err)
		}
	}
}

func TestCancelledFetch(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"f": "1"})
	srv := serve(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	srv.answerWith(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		cancel()
		<-r.Context().Done()
	})
	if _, err := open(t, t.TempDir()).Fetch(ctx, Source{URL: srv.url}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
