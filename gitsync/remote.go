package gitsync

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

// remote speaks the reading half of Git's protocol, version 0, over a wire. It turns every error into a *RemoteError.
type remote struct {
	url    string // for messages
	auth   Auth
	limits Limits
	dial   func(context.Context) (wire, error)
	wire   wire
}

// wire carries the two exchanges of a fetch. HTTP and SSH implement it.
type wire interface {
	// advertisement is the server's listing of refs.
	advertisement(ctx context.Context) (io.ReadCloser, error)
	// exchange sends a request for objects and returns the answer.
	exchange(ctx context.Context, request []byte) (io.ReadCloser, error)
	// spent reports that the wire can't carry another exchange.
	spent() bool
	// serverMessage is the server's message outside of the protocol, once it has ended.
	serverMessage() string
	close()
}

func connect(ctx context.Context, src Source, limits Limits) (*remote, error) {
	u, err := parseURL(src.URL, src.AllowPlainHTTP)
	if err != nil {
		return nil, err
	}
	r := &remote{url: displayURL(u), auth: src.Auth, limits: limits}
	r.dial = func(ctx context.Context) (wire, error) {
		if u.Scheme == "ssh" {
			return dialSSH(ctx, u, src.Auth)
		}
		return newHTTPWire(u, src.Auth), nil
	}
	w, err := r.dial(ctx)
	if err != nil {
		return nil, r.fail(ctx, err)
	}
	r.wire = w
	return r, nil
}

func (r *remote) close() { r.wire.close() }

func (r *remote) refs(ctx context.Context) (Refs, error) {
	body, err := r.wire.advertisement(ctx)
	if err != nil {
		return Refs{}, r.fail(ctx, err)
	}
	defer func() { _ = body.Close() }()
	limited := &limitedReader{r: body, left: maxAdvertisement, what: "list of refs"}
	refsListing := listing(limited)
	if limited.err != nil {
		return Refs{}, r.fail(ctx, limited.err)
	}
	leave, err := enter(ctx, refsListing.size > smallAdvertisement)
	if err != nil {
		return Refs{}, r.fail(ctx, err)
	}
	defer leave()
	adv := packp.NewAdvRefs()
	if err := adv.Decode(refsListing.reader()); err != nil {
		return Refs{}, r.fail(ctx, explainAdvertisement(err, refsListing))
	}
	if adv.IsEmpty() {
		return Refs{}, r.fail(ctx, packp.ErrEmptyAdvRefs)
	}
	return refsFrom(adv), nil
}

// listing reads a listing to its end, which is a flush: the first or, over HTTP, the one after the refs. It is decoded only
// afterwards, so that a slow server doesn't hold the turn that others wait for.
func listing(r io.Reader) *spool {
	received := &spool{}
	lines := pktline.NewScanner(io.TeeReader(r, received))
	service := false
	for i := 0; lines.Scan(); i++ {
		line := lines.Bytes()
		if len(line) == 0 && (i != 1 || !service) {
			break
		}
		service = service || i == 0 && line[0] == '#'
	}
	return received // the decoder reports one that is cut off
}

// spool keeps the written data in pieces: a growing buffer would take up to three times as much.
type spool struct {
	pieces [][]byte
	size   int
}

func (s *spool) Write(p []byte) (int, error) {
	const piece = 64 << 10
	for rest := p; len(rest) > 0; {
		last := len(s.pieces) - 1
		if last < 0 || len(s.pieces[last]) == piece {
			s.pieces = append(s.pieces, make([]byte, 0, piece))
			last++
		}
		n := min(len(rest), piece-len(s.pieces[last]))
		s.pieces[last] = append(s.pieces[last], rest[:n]...)
		rest = rest[n:]
	}
	s.size += len(p)
	return len(p), nil
}

func (s *spool) reader() io.Reader {
	readers := make([]io.Reader, len(s.pieces))
	for i, piece := range s.pieces {
		readers[i] = bytes.NewReader(piece)
	}
	return io.MultiReader(readers...)
}

func explainAdvertisement(err error, said *spool) error {
	if said.size > 0 && bytes.Contains(said.pieces[0], []byte("object-format=sha256")) {
		return &RemoteError{Reason: Unsupported, Detail: "it uses SHA-256 object names"}
	}
	return err
}

// objects requests the objects of the way and passes the pack to receive. have lists commits whose trees the caller has
// completely, without their history. An error of receive is returned unchanged, unless the remote is its cause.
func (r *remote) objects(ctx context.Context, refs Refs, w way, have []plumbing.Hash, receive func(io.Reader) error) error {
	if r.wire.spent() {
		if err := r.redial(ctx); err != nil {
			return err
		}
	}
	req := uploadRequest(refs.caps, w, have)
	var encoded bytes.Buffer
	if err := errors.Join(req.UploadRequest.Encode(&encoded), req.UploadHaves.Encode(&encoded, false),
		pktline.NewEncoder(&encoded).EncodeString("done\n")); err != nil {
		return r.fail(ctx, err)
	}
	body, err := r.wire.exchange(ctx, encoded.Bytes())
	if err != nil {
		return r.fail(ctx, err)
	}
	defer func() { _ = body.Close() }()
	answer := &limitedReader{r: body, left: maxNegotiation, what: "answer before the pack"}
	res := packp.NewUploadPackResponse(req)
	if err := res.Decode(io.NopCloser(answer)); err != nil {
		return r.fail(ctx, cmp.Or(answer.err, err))
	}
	// Frames and progress messages come in addition to the pack. They are bounded together, since the demultiplexer drops
	// them silently.
	answer.left, answer.what = maxNegotiation+r.limits.PackBytes+r.limits.PackBytes/16, "answer with the pack"
	pack := &limitedReader{r: demux(req, res), left: r.limits.PackBytes, what: "pack"}
	err = receive(pack)
	if err := cmp.Or(answer.err, pack.err); err != nil {
		return r.fail(ctx, err)
	}
	if errors.Is(err, errPack) {
		return r.fail(ctx, err)
	}
	return err
}

// redial opens a new wire and skips the refs, which the protocol sends first.
func (r *remote) redial(ctx context.Context) error {
	fresh, err := r.dial(ctx)
	if err != nil {
		return r.fail(ctx, err)
	}
	r.wire.close()
	r.wire = fresh
	_, err = r.refs(ctx)
	return err
}

// uploadRequest requests a commit with or without its history. It declares the objects at hand in two ways, because Git's
// server considers the folders and files of a commit outside of the wanted commit's history only when it makes a thin pack.
func uploadRequest(server *capability.List, w way, have []plumbing.Hash) *packp.UploadPackRequest {
	req := packp.NewUploadPackRequest()
	// Azure DevOps rejects clients without multi_ack_detailed. Its additional ACK lines come before the pack, since the
	// request ends in "done", and packp skips them.
	for _, wish := range []capability.Capability{capability.MultiACKDetailed, capability.OFSDelta, capability.NoProgress} {
		if server.Supports(wish) {
			_ = req.Capabilities.Set(wish)
		}
	}
	if server.Supports(capability.Sideband64k) {
		_ = req.Capabilities.Set(capability.Sideband64k)
	} else if server.Supports(capability.Sideband) {
		_ = req.Capabilities.Set(capability.Sideband)
	}
	req.Wants = w.wants
	if !server.Supports(capability.Shallow) {
		return req
	}
	if !w.history {
		_ = req.Capabilities.Set(capability.Shallow)
		req.Depth = packp.DepthCommits(max(1, w.depth))
	}
	if len(have) > 0 {
		_ = req.Capabilities.Set(capability.Shallow)
		// Without the shallow lines the server would assume that the parents of these commits are here, too.
		req.Shallows, req.Haves = have, slices.Clone(have)
		if server.Supports(capability.ThinPack) {
			_ = req.Capabilities.Set(capability.ThinPack)
		}
	}
	return req
}

func demux(req *packp.UploadPackRequest, res io.Reader) io.Reader {
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, res)
	case req.Capabilities.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, res)
	default:
		return res
	}
}

// limitedReader fails with a *LimitError when there is more data than allowed. It keeps the error, for decoders that drop
// it.
type limitedReader struct {
	r    io.Reader
	left int64
	what string
	read int64
	err  error
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.read += int64(n)
	if l.read > l.left {
		err = &LimitError{What: l.what, Limit: l.left, Got: l.read}
		n = 0
	}
	if err != nil && !errors.Is(err, io.EOF) {
		l.err = err
	}
	return n, err
}
