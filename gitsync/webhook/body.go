package webhook

import (
	"errors"
	"io"
	"net/http"
	"os"
)

// errNoMemory reports that too many large bodies are being read.
var errNoMemory = errors.New("no memory for the body")

// readBody reads a body through the verifier. It reserves memory as bytes come in, so that a sender who only announces a
// large body reserves none.
func readBody(r io.Reader, v *verifier, t *ticket, announced, most int64) ([]byte, error) {
	size := int64(4 << 10)
	if announced > 0 {
		size = min(announced+1, freeBody) // one more, so that the end is found without growing
	}
	body := make([]byte, 0, size)
	for {
		if len(body) == cap(body) {
			grown := min(2*int64(cap(body)), most+1)
			if extra := grown - max(freeBody, int64(cap(body))); extra > 0 && !t.take(extra) {
				return nil, errNoMemory
			}
			body = append(make([]byte, 0, grown), body...)
		}
		n, err := r.Read(body[len(body):cap(body)])
		_, _ = v.Write(body[len(body) : len(body)+n]) // never fails
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// bodyAnswer is the answer to a body that could not be read.
func bodyAnswer(err error) answer {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return tooLargeAnswer(tooLarge.Limit)
	case errors.Is(err, errNoMemory):
		return busy
	case errors.Is(err, os.ErrDeadlineExceeded):
		return answer{status: http.StatusRequestTimeout, outcome: outcomeTimeout, text: "the body did not arrive in time", hangUp: true}
	default:
		return answer{status: http.StatusBadRequest, outcome: outcomeAborted, text: "the body did not arrive", hangUp: true}
	}
}
