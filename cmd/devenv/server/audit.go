package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Request is a request that the API server has answered, or begun to answer for a watch. The resource fields are empty for
// requests without a resource (discovery, OpenAPI), which Path identifies.
type Request struct {
	Verb         string // get, list, watch, create, update, patch, delete, deletecollection
	Group        string
	Version      string
	Resource     string // plural
	Subresource  string
	Namespace    string
	Name         string
	User         string
	Impersonated string // the user that User impersonated, or empty
	UserAgent    string
	Path         string // with the query
	Code         int    // HTTP status
	Time         time.Time
}

// Writes reports whether the request tried to change something.
func (r Request) Writes() bool {
	switch r.Verb {
	case "get", "list", "watch":
		return false
	}
	return true
}

// String is for the messages of failing tests.
func (r Request) String() string {
	return fmt.Sprintf("%d %s %s by %s (%s)", r.Code, r.Verb, r.Path, r.User, r.UserAgent)
}

// Mark is a point in the API server's request log: the number of requests answered so far.
type Mark int

// Mark returns the present mark, for a later Requests.
func (c *ControlPlane) Mark() (Mark, error) {
	all, err := c.audit.read(context.Background())
	return Mark(len(all)), err
}

// Requests returns the requests since the mark (0: since the start), in the order in which they were answered; only those of
// the user, or all if user is empty. It includes every request whose answer a client has seen. A watch counts once, when it
// begins. Requests of the API server to itself and readiness checks of this package are never included.
func (c *ControlPlane) Requests(ctx context.Context, since Mark, user string) ([]Request, error) {
	all, err := c.audit.read(ctx)
	if err != nil {
		return nil, err
	}
	if int(since) > len(all) {
		return nil, fmt.Errorf("mark %d is not from this control plane, which has answered %d requests", since, len(all))
	}
	var found []Request
	for _, r := range all[since:] {
		if user == "" || r.User == user {
			found = append(found, r)
		}
	}
	return found, nil
}

// auditPolicy omits the stage before the answer, and requests of this package or of the server itself.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: [system:apiserver]
- level: None
  nonResourceURLs: [/readyz*, /livez*, /healthz*]
- level: Metadata
`

// auditLog follows the file that kube-apiserver writes its audit events to.
//
// In the blocking mode the server writes an event in the same goroutine as the answer and before it ends the answer. So
// after reading a complete answer, a client finds the event in the file without waiting.
type auditLog struct {
	path string

	mu      sync.Mutex
	offset  int64           // of the first unread byte
	begun   map[string]bool // audit IDs counted when their answer began, such as watches
	answers []Request
}

// auditEvent is the part of audit.k8s.io/v1 Event that a Request needs.
type auditEvent struct {
	AuditID    string
	Stage      string
	RequestURI string
	Verb       string
	User       struct{ Username string }
	// ImpersonatedUser is absent in most requests.
	ImpersonatedUser struct{ Username string }
	UserAgent        string
	ObjectRef        struct{ Resource, Namespace, Name, APIGroup, APIVersion, Subresource string }
	ResponseStatus   struct{ Code int }
	StageTimestamp   time.Time
}

// read reads new events from the file and returns all requests so far. The result is only appended to later, so callers may
// keep it.
func (l *auditLog) read(ctx context.Context) ([]Request, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.Open(l.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // created with the first event
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.NewSectionReader(f, l.offset, 1<<40))
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	for {
		line, rest, complete := bytes.Cut(content, []byte("\n"))
		if !complete { // an incomplete event is read next time
			return l.answers, ctx.Err()
		}
		if err := l.add(line); err != nil {
			return nil, err
		}
		l.offset += int64(len(line)) + 1
		content = rest
	}
}

func (l *auditLog) add(line []byte) error {
	var e auditEvent
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("read the audit log at byte %d: %w", l.offset, err)
	}
	if l.begun[e.AuditID] {
		delete(l.begun, e.AuditID) // the end of a request that is already counted
		return nil
	}
	if e.Stage == "ResponseStarted" {
		if l.begun == nil {
			l.begun = map[string]bool{}
		}
		l.begun[e.AuditID] = true
	}
	l.answers = append(l.answers, Request{
		Verb:  e.Verb,
		Group: e.ObjectRef.APIGroup, Version: e.ObjectRef.APIVersion,
		Resource: e.ObjectRef.Resource, Subresource: e.ObjectRef.Subresource,
		Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name,
		User: e.User.Username, Impersonated: e.ImpersonatedUser.Username, UserAgent: e.UserAgent,
		Path: e.RequestURI, Code: e.ResponseStatus.Code, Time: e.StageTimestamp,
	})
	return nil
}
