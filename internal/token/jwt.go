package token

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// algorithms are those by which a token may be signed: all that need a key which only the
// provider has. There is no "none", and no HS256 and its kin: whoever knows the
// provider's public key could sign by it (RFC 8725 §2.1, §3.1).
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// signed reads tokens that are JWTs (RFC 7519) in what they say themselves.
type signed struct{ keys *keySet }

func (s *signed) claims(ctx context.Context, token string) (claims, error) {
	jws, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, refusal("it is no JWT that is signed by a key pair: %.80q", err)
	}
	if typ, _ := jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string); !isToken(typ) {
		return nil, refusal("it is a JWT for something else: its type is %.40q", typ)
	}
	text, err := s.keys.verify(ctx, jws)
	if err != nil {
		return nil, err
	}
	c := claims{}
	if err := json.Unmarshal(text, &c); err != nil || c == nil {
		return nil, refusal("it holds no JSON object")
	}
	return c, nil
}

// isToken tells whether a JWT of this type opens something. Providers sign others too,
// such as those that end sessions: RFC 8725 §3.11.
func isToken(typ string) bool {
	switch strings.TrimPrefix(strings.ToLower(typ), "application/") { // RFC 7515 §4.1.9
	case "", "jwt", "at+jwt": // RFC 9068 §2.1
		return true
	}
	return false
}
