package server

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const asked = imapOnly + "[auth.policy]\nurl = 'http://127.0.0.1:8084'\nhash_nonce = '0123456789abcdef'\n"

func TestAMistakeAboutThePolicyServiceIsTold(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string][]string{
		"api_header = 'X: secret'": {
			`4:7: auth.policy: there is no url: nobody would be asked: add url, or leave the rest out too`,
		},
		"url = 'policy.example.org:8084'\napi_header = 'a b: secret'\nhash_truncate = 256\ntimeout = '0s'\nca = 'gone.pem'": {
			`4:7: auth.policy: without hash_nonce the service could find passwords out: add hash_nonce_file; the file may come from: openssl rand -hex 32`,
			`5:7: auth.policy.url: "policy.example.org:8084" is not like http://127.0.0.1:8084/: write it as "http://127.0.0.1:8084/"; secrets go into api_header_file`,
			`6:14: auth.policy.api_header: what stands before the colon is no name of a header: write it as "Authorization: Basic d2ZvcmNlOnNlY3JldA=="`,
			`7:17: auth.policy.hash_truncate: of the 256 bits of sha256, 256 cannot be left: write 12, or 0 for all`,
			`8:11: auth.policy.timeout: a question without a timeout could hold a login up for ever: write "2s"`,
			`9:6: auth.policy.ca: open DIR/gone.pem: no such file or directory: check the path, and that usher may read it`,
		},
	} {
		err := Check(parse(t, dir, imapOnly+"[auth.policy]\n"+text+"\n"))
		if got := told(dir, err); !slices.Equal(got, want) {
			t.Errorf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestWhatIsNotSafeAboutThePolicyServiceIsSaid(t *testing.T) {
	s := build(t, t.TempDir(), imapOnly+"[auth.policy]\nurl = 'http://policy.example.org'\nhash_nonce = 'short'\n")
	text := s.house.Load().cfg.Warnings.Error()
	for _, want := range []string{"who logs in", "hash_nonce is short"} {
		if !strings.Contains(text, want) {
			t.Errorf("no warning has %q: %s", want, text)
		}
	}
}

func TestAPolicyServiceIsAskedAsDovecotAsks(t *testing.T) {
	p := build(t, t.TempDir(), asked).house.Load().policy
	if !p.Before || !p.After || !p.Report || p.RejectOnFail || p.LogOnly || p.Hash.Bits != 12 || p.Hash.Mech != "sha256" || p.Timeout != 2*time.Second {
		t.Errorf("%+v", p)
	}
	if p := build(t, t.TempDir(), imapOnly).house.Load().policy; p != nil {
		t.Errorf("without a word of it there is %+v", p)
	}
}
