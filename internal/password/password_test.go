package password

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// vectors are hashes that other programs made of known passwords.
var vectors = []struct{ made, hash, clear string }{
	// Dovecot 2.4: doveadm pw -s SCHEME -p PASSWORD, some with -r ROUNDS
	{"doveadm", `{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo`, "secret"},
	{"doveadm", `{ARGON2ID}$argon2id$v=19$m=262144,t=3,p=1$lWsVCExnjYGYK/Wc2tm2JA$1DFkbb+Womup/T1Uu8CJEX352qIIBkhq98Dj0bPpWaI`, "grüße"},
	{"doveadm", `{BLF-CRYPT}$2y$05$FGoMxKfFO2TEzAg4YQFWpOYQeLTfgFYPR1fItzBowzZzeQemXuFdK`, "secret"},
	{"doveadm", `{BLF-CRYPT}$2y$04$nSWXn/hJr/kgIQmY3PoC1.dLjVgZN/IEwKZFJyUhIqZJpJcYWvBui`, "grüße"},
	{"doveadm", `{BLF-CRYPT}$2y$04$ya9rueeC80swe0KH6IgvGeyZYVqJIUmUI9ou8SGEBVovqYhFtQhhu`, strings.Repeat("x", 72) + "tail"},
	{"doveadm", `{SHA512-CRYPT}$6$.AkD4y1DqU5H/760$K2hOnL5pnnBa2AbIw3XkrJ02gQGGy1yZGT5VewOGCeSU3YWC/YGLmcgtL06WEt0/bP8QjbGHYAPygcsB9Kyx11`, "secret"},
	{"doveadm", `{SHA512-CRYPT}$6$rounds=1500$wrNaJmTdbRtOPO6t$hOMz3Iszz4A8GB3bWdA4j5eBvfU0MXRd5pnpUvgDM683akhTYuWxKpS8PB6ztekfjRHP6wLNIAQThbXmLMzRt1`, "grüße"},
	{"doveadm", `{CRYPT}$2y$05$r76U6UnmaFgpspEn3isdK.3hcdG7u84GtES5fFdngq8.b32LTDmyi`, "secret"},
	{"doveadm", `{PLAIN}secret`, "secret"},
	// openssl passwd -6 -salt saltsalt secret
	{"openssl", `$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1`, "secret"},
	// perl -e 'print crypt("secret", q($2y$04$abcdefghijklmnopqrstuu))', with libxcrypt; the same with $2b$ and $6$rounds=1000$…
	{"libxcrypt", `$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW`, "secret"},
	{"libxcrypt", `$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW`, "secret"},
	{"libxcrypt", `$6$rounds=1000$abcdefghijklmnop$/ySzNKkDy6wawo9hTH6WxjPbiNMjvDjUNjja1ca1Iw8M6hvIP5521AJRYCq2LKFri/5fZ6KSUYfs/3ZzFVhh./`, "secret"},
	{"libxcrypt", `$2a$05$/OK.fbVrR/bpIqNJ5ianF.nRht2l/HRhr6zmCp9vYUvvsqynflf9e`, "\xff\xa3345"},
}

func TestVerifyReadsWhatOthersMade(t *testing.T) {
	for _, v := range vectors {
		if ok, err := Verify(v.hash, v.clear); !ok || err != nil {
			t.Errorf("%s made %s of %q; Verify says %v, %v", v.made, v.hash, v.clear, ok, err)
		}
		for _, wrong := range []string{v.clear + "\x00", "y" + v.clear} {
			if ok, err := Verify(v.hash, wrong); ok || err != nil {
				t.Errorf("Verify(%s, %q) = %v, %v; want false", v.hash, wrong, ok, err)
			}
		}
	}
}

func TestSchemeNamesMatchInAnyCase(t *testing.T) {
	for _, hash := range []string{"{plain}secret", "{Plain}secret", "{blf-crypt}" + strings.TrimPrefix(vectors[2].hash, "{BLF-CRYPT}")} {
		if ok, err := Verify(hash, "secret"); !ok || err != nil {
			t.Errorf("Verify(%s) = %v, %v", hash, ok, err)
		}
	}
}

// Every one of these must be "cannot tell", whatever the password.
var unreadable = []string{
	"", "secret", "{", "{}", "{PLAIN", "{PLAIN}", "{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69", "{SSHA}abc", "{CRYPT}secret",
	"$", "$$", "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "$5$abc$def", "$y$j9T$abc$def", "*0", "!", "x", "SCRAM-SHA-256$4096:abc",
	"$6$", "$6$$", "$6$salt$short", "$6$rounds=999$salt$" + strings.Repeat("a", 86), "$6$rounds=2000001$salt$" + strings.Repeat("a", 86),
	"$6$rounds=99999999999999999999$salt$" + strings.Repeat("a", 86), "$6$saltsaltsaltsalt+$" + strings.Repeat("a", 86),
	"$2$05$FGoMxKfFO2TEzAg4YQFWpOYQeLTfgFYPR1fItzBowzZzeQemXuFdKx", "$2x$05$FGoMxKfFO2TEzAg4YQFWpOYQeLTfgFYPR1fItzBowzZzeQemXuFdK",
	"$2b$03$FGoMxKfFO2TEzAg4YQFWpOYQeLTfgFYPR1fItzBowzZzeQemXuFdK", "$2b$17$FGoMxKfFO2TEzAg4YQFWpOYQeLTfgFYPR1fItzBowzZzeQemXuFdK",
	"$2b$05$FGoMxKfFO2TEzAg4YQFWpO+QeLTfgFYPR1fItzBowzZzeQemXuFdK",
	"$argon2id$", "$argon2i$v=19$m=65536,t=3,p=1$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=19$m=1048577,t=3,p=1$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=19$m=65536,t=65,p=1$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=19$m=65536,t=3,p=65$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=19$m=65536,t=0,p=1$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=19$m=7,t=1,p=1$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=16$m=65536,t=3,p=1$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=19$m=65536,t=3,p=1$SZ87bWdDl40byKRdqSe/kg$", "$argon2id$v=19$m=65536,t=3,p=1$a$b",
}

func TestUnreadableIsNeverWrong(t *testing.T) {
	for _, hash := range unreadable {
		for _, clear := range []string{"secret", "", hash} {
			if ok, err := Verify(hash, clear); ok || err == nil {
				t.Errorf("Verify(%q, %q) = %v, %v; want an error", hash, clear, ok, err)
			}
		}
		if Check(hash) == nil {
			t.Errorf("Check(%q) finds no fault", hash)
		}
	}
}

// A clear password may stand where a hash should be; the error goes to the log.
func TestErrorsDoNotQuoteThePassword(t *testing.T) {
	for _, hash := range []string{"hunter2", "{hunter2", "{hunter2}x", "$hunter2$", "{CRYPT}hunter2", "{ARGON2ID}hunter2", "$6$hunter2", "$2hunter2"} {
		if err := Check(hash); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Check(%q) says %v", hash, err)
		}
	}
}

// What Make makes has to be readable for us and, where it is installed, for Dovecot.
func TestMakeThenVerify(t *testing.T) {
	for _, name := range []string{"ARGON2ID", "argon2id", "BLF-CRYPT", "SHA512-CRYPT", "PLAIN"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hash, err := Make(name, "pässword")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(hash, "{"+strings.ToUpper(name)+"}") {
				t.Errorf("Make(%s) = %s", name, hash)
			}
			if ok, err := Verify(hash, "pässword"); !ok || err != nil {
				t.Errorf("Verify(%s) = %v, %v", hash, ok, err)
			}
			dovecotReads(t, hash, "pässword")
		})
	}
}

func dovecotReads(t *testing.T, hash, clear string) {
	doveadm, err := exec.LookPath("doveadm")
	if err != nil {
		t.Log("doveadm is not installed")
		return
	}
	if out, err := exec.Command(doveadm, "pw", "-t", hash, "-p", clear).CombinedOutput(); err != nil {
		t.Errorf("doveadm refuses %s: %v %s", hash, err, out)
	}
}

func TestSaltsDiffer(t *testing.T) {
	one, _ := Make(Default, "secret")
	if other, _ := Make(Default, "secret"); one == "" || one == other {
		t.Errorf("twice %q of one password", one)
	}
}

func TestMakeRefuses(t *testing.T) {
	for _, c := range []struct{ scheme, clear, want string }{
		{"MD5", "secret", "none of ARGON2ID"},
		{Default, "", "empty"},
		{Default, "a\nb", "line end"},
		{"BLF-CRYPT", strings.Repeat("x", 73), "72"},
		{"SHA512-CRYPT", strings.Repeat("x", 513), "512"},
	} {
		if hash, err := Make(c.scheme, c.clear); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Make(%s, %.10q) = %q, %v; want an error with %q", c.scheme, c.clear, hash, err, c.want)
		}
	}
	if !slices.Contains(Schemes(), Default) {
		t.Errorf("the default %s is none of %v", Default, Schemes())
	}
}

// Long passwords cost a stranger nothing and must not cost us more.
func TestLongPasswordIsWrong(t *testing.T) {
	if ok, err := Verify(vectors[5].hash, strings.Repeat("x", 1<<20)); ok || err != nil {
		t.Errorf("a password of 1 MiB: %v, %v; want false", ok, err)
	}
}

func FuzzVerify(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.hash, v.clear)
	}
	for _, hash := range unreadable {
		f.Add(hash, "secret")
	}
	f.Fuzz(func(t *testing.T, hash, clear string) {
		if costly(hash) {
			t.Skip("right, but slow")
		}
		ok, err := Verify(hash, clear)
		if ok && err != nil {
			t.Errorf("Verify(%q, %q) = true, %v", hash, clear, err)
		}
		if (err == nil) != (Check(hash) == nil) {
			t.Errorf("Verify(%q) says %v, Check says %v", hash, err, Check(hash))
		}
	})
}

// costly finds the hashes on which the fuzzer would lose its time.
func costly(hash string) bool {
	_, argon, _ := strings.Cut(hash, "}")
	if a, err := readArgon(argon); err == nil {
		return a.memory*a.time > 1<<12
	}
	return strings.Contains(hash, "rounds=") || strings.Contains(hash, "$2") && !strings.Contains(hash, "$04$")
}

func BenchmarkVerify(b *testing.B) {
	for _, name := range Schemes() {
		hash, err := Make(name, "secret")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if ok, err := Verify(hash, "secret"); !ok {
					b.Fatal(err)
				}
			}
		})
	}
}
