package sasl_test

import (
	"encoding/base64"
	"strings"

	"usher/internal/password"
)

// A scramClient is an Exchange with a client of SCRAM-SHA-256 that binds itself as a
// test wants it to.
type scramClient struct {
	kind     string // "": not at all
	binding  []byte
	password string
	bare     string
}

func (c *scramClient) header() string {
	if c.kind == "" {
		return "n,,"
	}
	return "p=" + c.kind + ",,"
}

func (c *scramClient) Initial(string) ([]byte, error) {
	c.bare = "n=ann,r=client"
	return []byte(c.header() + c.bare), nil
}

func (c *scramClient) Send(msg []byte) ([]byte, error) {
	if strings.HasPrefix(string(msg), "v=") {
		return nil, nil
	}
	part := strings.Split(string(msg), ",")
	salt, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(part[1], "s="))
	final := "c=" + base64.StdEncoding.EncodeToString(append([]byte(c.header()), c.binding...)) + "," + part[0]
	proof, _, err := password.Prove("SHA-256", c.password, salt, 100, c.bare+","+string(msg)+","+final)
	return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(proof)), err
}
