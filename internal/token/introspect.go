package token

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// introspection asks the provider about each token: RFC 7662.
type introspection struct {
	url, id, secret string
	web             *web
}

func (i *introspection) claims(ctx context.Context, token string) (claims, error) {
	ctx, cancel := context.WithTimeout(ctx, i.web.timeout)
	defer cancel()
	c, err := i.ask(ctx, token)
	if err != nil {
		return nil, fmt.Errorf("introspection at %s: %w", i.url, err)
	}
	switch active, ok := c["active"].(bool); { // RFC 7662 §2.2
	case !ok:
		return nil, fmt.Errorf("introspection at %s: it does not say whether the token is active", i.url)
	case !active:
		return nil, refusal("the provider says that it is not active")
	}
	return c, nil
}

func (i *introspection) ask(ctx context.Context, token string) (claims, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.url, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if i.id != "" {
		req.SetBasicAuth(url.QueryEscape(i.id), url.QueryEscape(i.secret)) // RFC 6749 §2.3.1
	}
	resp, err := i.web.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden: // it is us whom it does not want: RFC 7662 §2.3
		return nil, fmt.Errorf("HTTP status %d: it does not take client_id and client_secret", resp.StatusCode)
	default:
		return nil, fmt.Errorf("HTTP status %d", resp.StatusCode)
	}
	var c claims
	if err := json.NewDecoder(resp.Body).Decode(&c); err != nil {
		return nil, fmt.Errorf("its answer: %w", err)
	}
	if c == nil {
		return nil, errNotObject
	}
	return c, nil
}
