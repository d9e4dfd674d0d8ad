package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	mostBody  = 64 << 10 // bytes of an answer
	mostWords = 80       // characters of what it says
	mostWait  = 30 * time.Second
)

// read reads what the service says: {"status": -1, "msg": "go away"}. Less than 0 is no,
// 0 is yes, more are seconds to wait.
func read(body io.Reader) (v Verdict, err error) {
	text, err := io.ReadAll(io.LimitReader(body, mostBody+1))
	switch {
	case err != nil:
		return v, fmt.Errorf("its answer breaks off: %w", plain{err})
	case len(text) > mostBody:
		return v, fmt.Errorf("its answer is longer than %d bytes", mostBody)
	}
	return parse(text)
}

func parse(text []byte) (v Verdict, err error) {
	var said struct {
		Status *int64 `json:"status"`
		Msg    string `json:"msg"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return v, fmt.Errorf("its answer %.80q is not like {\"status\": 0, \"msg\": \"\"}", text)
	}
	if said.Status == nil {
		return v, errors.New("its answer has no status: is this a service for Dovecot's auth policy?")
	}
	v.Words = fmt.Sprintf("%.*s", mostWords, said.Msg)
	switch n := *said.Status; {
	case n < 0:
		v.Refused = true
	case n > int64(mostWait/time.Second):
		v.Wait = mostWait
	default:
		v.Wait = time.Duration(n) * time.Second
	}
	return v, nil
}
