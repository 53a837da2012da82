// Package preflight checks whether a credential works at the API server of a remote cluster, and what it may read there.
//
// [Run] takes one [Target] and returns named checks in a fixed order, each with a [Cause] from a fixed list if it failed.
// [All] does so for many, side by side. [TargetOf] makes the target of a cluster in an opened fleet, from the very values that
// its Secret gets; [FromKubeconfig] makes one of a kubeconfig that isn't in a repository yet.
//
// It is the one package of clusters that opens connections, and it trusts neither the addresses, which come from a
// repository, nor the servers behind them:
//
//   - An address is checked after it was resolved, and the connection goes to that very address. Loopback, link-local, metadata,
//     multicast and management addresses are refused unless [Options] allow them.
//   - It uses no proxy that [Options] don't allow, follows no redirect, runs no plugin, opens no file and reads nothing from the environment.
//   - It reads a bounded answer in a bounded time.
//   - Texts of a server are masked, and left out if they are long.
//
// [Run] writes nothing: all its requests are reads, and reviews of the credential's own name and rights. [Post] is for whoever has
// something to request from a target, by the same rules.
package preflight

import (
	"context"
	"iter"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/muster-gitops/muster/clusters/redact"
)

// Target is a cluster to check. It contains secrets.
type Target struct {
	// Cluster is the name that messages and commands use.
	Cluster string
	// Server is https://host, https://host:port or https://host:port/path.
	Server string
	// CA is the certificate authority in PEM. If it is empty, the system's authorities are used, as in client-go.
	CA []byte
	// TLSServerName replaces the host of Server in the check of the certificate, if it isn't empty.
	TLSServerName string
	// SkipTLSVerify turns the check of the certificate off.
	SkipTLSVerify bool
	// Token is a bearer token. Username and Password are for servers that still accept them.
	Token, Username, Password string
	// Certificate and Key are a client certificate in PEM.
	Certificate, Key []byte
	// ProxyURL is a proxy of the form http://host:port, with a login or without; empty for none.
	ProxyURL string
	// Impersonate are the headers with which the credential acts as another user; nil if it doesn't.
	Impersonate map[string][]string
	// UID is that of the namespace kube-system, as an earlier Result has it. It is empty if the cluster wasn't seen before.
	UID string
	// Vault is where the token comes from; nil if it is above.
	Vault *VaultLogin
	// NotChecked is why no connection can be made from here. Run then returns it, without opening one.
	NotChecked string

	// noLogin is why no one can log in from here. Then the checks end with the server's certificate.
	noLogin string
	// problem is why the credential can't be used at all. facts is what was seen of a credential that is not checked from here.
	problem *failure
	facts   string
}

// Options are what the caller allows, and its limits. The zero value is valid.
type Options struct {
	// Timeout limits a target; 30 seconds if zero. StepTimeout limits a step, such as to resolve the name or to answer one
	// request; a sixth of Timeout if zero.
	Timeout, StepTimeout time.Duration
	// Parallel is the number of targets that All checks at a time; 128 if zero. A target that hangs mostly costs a socket.
	Parallel int
	// Allow are addresses that are contacted although they are loopback, link-local, metadata, multicast or management addresses.
	// Private networks, where API servers usually are, need no permission.
	Allow []netip.Prefix
	// Proxies are those that a target may name, as host:port.
	Proxies []string
	// Management are the addresses of the management cluster's API server.
	Management []netip.Addr
	// Redactor masks the secrets of the run in what a server says. Those of the target are masked without it.
	Redactor *redact.Redactor
	// Resolve finds the addresses of a host; DNS as the system is set up, if nil.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.StepTimeout == 0 {
		o.StepTimeout = o.Timeout / 6
	}
	if o.Parallel == 0 {
		o.Parallel = 128
	}
	if o.Resolve == nil {
		o.Resolve = lookup
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Run checks one target. It returns when all checks are done, at the first failure that makes the next check impossible, or
// after Options.Timeout.
func Run(ctx context.Context, t Target, o Options) Result {
	o = o.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	r := newReport(t, o)
	r.run(ctx, t, o)
	return r.result
}

func (r *report) run(ctx context.Context, t Target, o Options) {
	if t.Vault != nil {
		release, failure := r.mint(ctx, &t, o)
		defer release()
		if failure != nil {
			r.fail(Credential, failure)
			return
		}
	}
	if where := r.credential(t, o); where != nil {
		r.connection(ctx, t, o, where)
	}
}

// connection makes the checks that need one.
func (r *report) connection(ctx context.Context, t Target, o Options, where *endpoint) {
	c := r.connect(ctx, t, o, where)
	if c == nil {
		return
	}
	defer c.close()
	if t.noLogin != "" {
		r.withoutLogin(t.noLogin)
		return
	}
	if r.version(ctx, c) && r.login(ctx, c, o.Now()) {
		if t.Vault != nil {
			r.newRights(ctx, c)
		} else {
			r.rights(ctx, c)
		}
		r.identity(ctx, c, t.UID)
	}
}

// connect makes the checks until there is a connection to the server. It returns nil if one has failed.
func (r *report) connect(ctx context.Context, t Target, o Options, where *endpoint) *client {
	d := dialer{guard: guard{allow: o.Allow, management: o.Management}, timeout: o.StepTimeout, proxy: where.proxy}
	host, port, failure := d.contact(where)
	if failure != nil {
		r.fail(Resolve, failure)
		return nil
	}
	r.known.host, r.known.port = host, port
	addresses, failure := d.resolve(ctx, host, o.Resolve)
	if failure != nil {
		r.fail(Resolve, failure)
		return nil
	}
	r.pass(Resolve, list(addresses))
	conn, failure := d.dial(ctx, addresses, port)
	if failure != nil {
		r.fail(Connect, failure)
		return nil
	}
	r.pass(Connect, "")
	r.known.host, r.known.port = where.host, where.port // after the connection, a proxy is out of the picture
	c := newClient(t, where, d, addresses, port, o)
	if failure := c.greet(ctx, conn); failure != nil {
		r.handshake(t, failure)
		return nil
	}
	r.verified(t)
	return c
}

// Post posts an object to a path of the target's API, and returns status and body of the answer. Without an answer, it returns the
// check that failed, or one that could not be made: a server error counts as no answer.
func Post(ctx context.Context, t Target, o Options, path string, object any) (status int, body []byte, failed *Check) {
	o = o.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	r := newReport(t, o)
	where := r.credential(t, o)
	if where == nil {
		if failed = r.result.Failure(); failed == nil {
			failed = &Check{Name: Credential, State: NotChecked, Message: r.result.NotChecked}
		}
		return 0, nil, failed
	}
	c := r.connect(ctx, t, o, where)
	if c == nil {
		return 0, nil, r.result.Failure()
	}
	defer c.close()
	a, failure := c.post(ctx, path, object)
	if failure != nil {
		r.fail(HTTP, failure)
		return 0, nil, r.result.Failure()
	}
	return a.status, a.body, nil
}

// All checks many targets side by side, and yields the result of each with the target's index as soon as it has it. One that is
// slow delays no other, as long as fewer than Options.Parallel are slow.
func All(ctx context.Context, targets []Target, o Options) iter.Seq2[int, Result] {
	type numbered struct {
		index int
		Result
	}
	return func(yield func(int, Result) bool) {
		ctx, cancel := context.WithCancel(ctx)
		results, stopped := make(chan numbered), make(chan struct{})
		go func() {
			defer close(results)
			var group errgroup.Group
			group.SetLimit(o.withDefaults().Parallel)
			for i, t := range targets {
				group.Go(func() error {
					select {
					case results <- numbered{i, Run(ctx, t, o)}:
					case <-stopped:
					}
					return nil
				})
			}
			group.Wait() //nolint:errcheck // none of them returns one
		}()
		defer func() { // leaves nothing running, whoever stops
			close(stopped)
			cancel()
			for range results {
			}
		}()
		for r := range results {
			if !yield(r.index, r.Result) {
				return
			}
		}
	}
}
