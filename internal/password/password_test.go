package password

import (
	"slices"
	"strings"
	"testing"
)

func TestVerifyReadsWhatOthersMade(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.hash[:min(len(v.hash), 24)], func(t *testing.T) {
			t.Parallel()
			if ok, err := Verify(v.hash, v.clear); !ok || err != nil {
				t.Errorf("%s made %s of %q; Verify says %v, %v", v.made, v.hash, v.clear, ok, err)
			}
			for _, wrong := range []string{v.clear + "\x00", "y" + v.clear} {
				if ok, err := Verify(v.hash, wrong); ok || err != nil {
					t.Errorf("Verify(%s, %q) = %v, %v; want false", v.hash, wrong, ok, err)
				}
			}
		})
	}
}

func TestEverySchemeHasAVector(t *testing.T) {
	for _, name := range Schemes() {
		if !slices.ContainsFunc(vectors, func(v struct{ made, hash, clear string }) bool {
			return strings.HasPrefix(v.hash, "{"+name+"}")
		}) && name != "ARGON2" { // the same as ARGON2ID
			t.Errorf("no vector shows that {%s} can be read", name)
		}
	}
}

// damaged are kinds of hashes of which something is missing, or something else
// stands at their place. Every one of them must be "cannot tell", whatever the
// password: so must all of hostile.
var damaged = []string{
	"", "secret", "{", "{}", "{PLAIN", "{PLAIN}", "{ PLAIN}secret", "{PLAIN.}secret", "{PLAIN.b64.hex}c2VjcmV0", "{PLAIN.hex}7365z", "{PLAIN.b64}c2VjcmV0AA==",
	"{CRYPT}secret", "{CRYPT}", "$", "$$", "*0", "!", "x", "*", "*LK*", "!$1$saltsalt$9xy1btjgzLYfb7hivXtC//",
	"{DIGEST-MD5}0a95617e6c225d3f5852414404b00492", "{OTP}sha1 1024 02e546b7874e4c92 851caaa8d9b67d0f", "SCRAM-SHA-256$4096:abc",
	"$7$abc$def", "$sha1$40000$jtNX3nZ2$xAGfHaqu.pZIve2JiBKjFE7Nhq.4", "_J9..rasmz0.F/jqjWck", "$3$$8846f7eaee8fb117ad06bdd830b7586c",
	"abNANd1rDfiN!", "a:NANd1rDfiNc", "abNANd1rDfiNd",
	"$1$", "$1$saltsalt$", "$1$saltsalt", "$1$saltsalts$9xy1btjgzLYfb7hivXtC//", "$1$saltsalt$9xy1btjgzLYfb7hivXtC//$", "{MD5-CRYPT}abNANd1rDfiNc",
	"$5$abc$def", "$6$", "$6$$", "$6$salt$short", "$6$saltsaltsaltsalt+$" + strings.Repeat("a", 86), "$6$rounds=5000$" + strings.Repeat("a", 86), "$5$salt$" + strings.Repeat("a", 86),
	"$y$j9T$abc$def", "$y$", "$y$j9T$$GmcwIgvdUC9qLWcKCi6gklUa1dM3ziD43YxYNURLKy0", "$y$k9T$F5Jx5fExrKuPp53xLKQ..1$GmcwIgvdUC9qLWcKCi6gklUa1dM3ziD43YxYNURLKy0",
	"$y$j9T1$F5Jx5fExrKuPp53xLKQ..1$GmcwIgvdUC9qLWcKCi6gklUa1dM3ziD43YxYNURLKy0",
	"$2$05$FGoMxKfFO2TEzAg4YQFWpOYQeLTfgFYPR1fItzBowzZzeQemXuFdKx", "$2x$05$FGoMxKfFO2TEzAg4YQFWpOYQeLTfgFYPR1fItzBowzZzeQemXuFdK",
	"$2b$05$FGoMxKfFO2TEzAg4YQFWpO+QeLTfgFYPR1fItzBowzZzeQemXuFdK", "{BLF-CRYPT}abNANd1rDfiNc",
	"$argon2id$", "$argon2d$v=19$m=65536,t=3,p=1$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=16$m=65536,t=3,p=1$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=19$m=65536,t=3$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=19$t=3,m=65536,p=1$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=19$m=65536,t=3,p=1$SZ87bWdDl40byKRdqSe/kg$", "$argon2id$v=19$m=65536,t=3,p=1$a$b",
	"{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ", "{SHA.b64}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4", "{SHA.hex}5en6G6MezRroT3XKqkdPOmY/BfQ=", "{SHA}", "{SHA.foo}5en6G6MezRroT3XKqkdPOmY/BfQ=",
	"{SSHA}abc", "{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "{SSHA}", "{MD5}", "{MD5}x", "{MD5}$1$saltsalt$x", "{MD5.hex}5ebe2294ecd0e0f08eab7690d2a6ee69",
	"{PBKDF2}$1$salt$5000$72c6f79c26abca97eefdd038b8a701d52919db", "{PBKDF2}$2$salt$5000$72c6f79c26abca97eefdd038b8a701d52919db64", "{PBKDF2}$1$salt$5000",
	"{SCRAM-SHA-1}4096,2DhRucGofQACqBBXRk4LIQ==,IetJmAEb8dhEbjELu5YZbaXNmYA=", "{SCRAM-SHA-1}4096,,IetJmAEb8dhEbjELu5YZbaXNmYA=,f+T+YKLng5o72ouyk4cSvKOzMCc=",
	"{SCRAM-SHA-256}4096,2DhRucGofQACqBBXRk4LIQ==,IetJmAEb8dhEbjELu5YZbaXNmYA=,f+T+YKLng5o72ouyk4cSvKOzMCc=",
	"{CRAM-MD5}cd3ba7deaad6e5ca23448ba42e379747",
}

func TestDamagedIsNeverWrong(t *testing.T) {
	all := slices.Concat(damaged, hostile)
	for _, v := range vectors {
		_, clear, _ := strings.Cut(v.hash, "}")
		if clear == v.clear {
			continue // one clear password is as good as another
		}
		hash := strings.TrimSpace(v.hash)
		all = append(all, hash[:len(hash)-1], hash[:len(hash)-1]+"!", hash+"A")
	}
	for _, hash := range all {
		for _, clear := range []string{"secret", "", hash} {
			if ok, err := Verify(hash, clear); ok || err == nil {
				t.Errorf("Verify(%q, %q) = %v, %v; want an error", hash, clear, ok, err)
			}
		}
		if Check(hash) == nil || Slow(hash) {
			t.Errorf("Check(%q) finds %v, Slow says %v", hash, Check(hash), Slow(hash))
		}
	}
}

// hostile are hashes that are well formed but ask for too much.
var hostile = []string{
	"$6$rounds=999$salt$" + strings.Repeat("a", 86), "$6$rounds=1000001$salt$" + strings.Repeat("a", 86), "$5$rounds=999999999$salt$" + strings.Repeat("a", 43),
	"$6$rounds=99999999999999999999$salt$" + strings.Repeat("a", 86), "$6$rounds=-5000$salt$" + strings.Repeat("a", 86), "$6$rounds=+5000$salt$" + strings.Repeat("a", 86),
	"$2b$03$FGoMxKfFO2TEzAg4YQFWpOYQeLTfgFYPR1fItzBowzZzeQemXuFdK", "$2b$16$FGoMxKfFO2TEzAg4YQFWpOYQeLTfgFYPR1fItzBowzZzeQemXuFdK",
	"$2b$31$FGoMxKfFO2TEzAg4YQFWpOYQeLTfgFYPR1fItzBowzZzeQemXuFdK",
	"{ARGON2ID}$argon2id$v=19$m=524288,t=3,p=1$lWsVCExnjYGYK/Wc2tm2JA$1DFkbb+Womup/T1Uu8CJEX352qIIBkhq98Dj0bPpWaI", // 512 MiB
	"$argon2id$v=19$m=262145,t=3,p=1$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=19$m=131072,t=17,p=1$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=19$m=1024,t=65,p=1$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=19$m=65536,t=3,p=65$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=19$m=65536,t=0,p=1$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=19$m=65536,t=3,p=0$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=19$m=7,t=1,p=1$SZ87bWdDl40byKRdqSe/kg$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$argon2id$v=19$m=8,t=1,p=1$SZ87bWdDl40byKRdqSe/kg$" + strings.Repeat("A", 192),
	"$argon2id$v=19$m=8,t=1,p=1$" + strings.Repeat("A", 192) + "$0Ol9U6khSxGjgpZ/CtS+JJPqTFKYkLQJtaApB/lKImo",
	"$y$jFT$F5Jx5fExrKuPp53xLKQ..1$GmcwIgvdUC9qLWcKCi6gklUa1dM3ziD43YxYNURLKy0", // 1 GiB, the most that crypt(3) makes
	"$y$jDT$F5Jx5fExrKuPp53xLKQ..1$GmcwIgvdUC9qLWcKCi6gklUa1dM3ziD43YxYNURLKy0", "$y$jz.$F5Jx5fExrKuPp53xLKQ..1$GmcwIgvdUC9qLWcKCi6gklUa1dM3ziD43YxYNURLKy0",
	"$y$j9z$F5Jx5fExrKuPp53xLKQ..1$GmcwIgvdUC9qLWcKCi6gklUa1dM3ziD43YxYNURLKy0", "$y$j..$F5Jx5fExrKuPp53xLKQ..1$GmcwIgvdUC9qLWcKCi6gklUa1dM3ziD43YxYNURLKy0",
	"$y$j9T$" + strings.Repeat("a", 192) + "$GmcwIgvdUC9qLWcKCi6gklUa1dM3ziD43YxYNURLKy0",
	"{PBKDF2}$1$salt$5000001$72c6f79c26abca97eefdd038b8a701d52919db64", "{PBKDF2}$1$salt$0$72c6f79c26abca97eefdd038b8a701d52919db64",
	"{PBKDF2}$1$" + strings.Repeat("a", 129) + "$1$72c6f79c26abca97eefdd038b8a701d52919db64",
	"{SCRAM-SHA-1}5000001,2DhRucGofQACqBBXRk4LIQ==,IetJmAEb8dhEbjELu5YZbaXNmYA=,f+T+YKLng5o72ouyk4cSvKOzMCc=",
	"{SCRAM-SHA-1}0,2DhRucGofQACqBBXRk4LIQ==,IetJmAEb8dhEbjELu5YZbaXNmYA=,f+T+YKLng5o72ouyk4cSvKOzMCc=",
	"{SCRAM-SHA-1}4096," + strings.Repeat("AAAA", 43) + ",IetJmAEb8dhEbjELu5YZbaXNmYA=,f+T+YKLng5o72ouyk4cSvKOzMCc=",
	"{SSHA}" + strings.Repeat("AAAA", 50), "{PLAIN}" + strings.Repeat("a", maxStored), strings.Repeat("$", 1<<20),
}

// A clear password may stand where a hash should be; the error goes to the log.
func TestErrorsDoNotQuoteThePassword(t *testing.T) {
	all := []string{
		"hunter2", "{hunter2", "{hunter2}x", "{PLAIN.hunter2}x", "$hunter2$", "$2hunter2", "$hunter2$a$b$c$d",
		"$6$hunter2", "$6$rounds=hunter2$salt$" + strings.Repeat("a", 86), "$6$hunter2hunter2hunter2$" + strings.Repeat("a", 86), "$1$hunter2hunter2$9xy1btjgzLYfb7hivXtC//",
		"$2b$hunter2hunter2hunter2hunter2hunter2hunter2hunter2hunter2", "$y$hunter2$a$b", "$y$j9T$hunter2$b",
		"$argon2id$v=19$hunter2,t=1,p=1$a$b", "$argon2id$v=19$m=hunter2,t=1,p=1$a$b", "$argon2id$v=19$m=8,t=1,p=1$hunter2$b", "$argon2id$hunter2$a$b$c",
		"{PBKDF2}$1$salt$hunter2$x", "{PBKDF2}$1$salt$1$hunter2", "{SCRAM-SHA-1}hunter2,a,b,c", "{SCRAM-SHA-1}4096,hunter2,b,c",
	}
	for _, name := range Schemes() {
		if !strings.HasPrefix(name, "PLAIN") && !strings.HasPrefix(name, "CLEAR") {
			all = append(all, "{"+name+"}hunter2")
		}
		all = append(all, "{"+name+".b64}hunter2", "{"+name+".hex}hunter2")
	}
	for _, hash := range all {
		if err := Check(hash); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Check(%q) says %v", hash, err)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for hash, want := range map[string]string{
		"secret":            "usher hash",
		"{DIGEST-MD5}0a956": "realm",
		"{NTLM}0a956":       "none of ARGON2ID",
		"{SSHA}x":           "{SSHA}",
		"{ARGON2ID}$argon2id$v=19$m=524288,t=3,p=1$lWsVCExnjYGYK/Wc2tm2JA$1DFkbb+Womup/T1Uu8CJEX352qIIBkhq98Dj0bPpWaI": "262144",
	} {
		if err := Check(hash); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check(%s) says %v; want %q in it", hash, err, want)
		}
	}
}

// What only looks like a hash must not keep others waiting, and what takes the
// processor must queue.
func TestSlowHashesAreKnown(t *testing.T) {
	quick := []string{
		"{PLAIN", "{CLEAR", "{SHA}", "{SHA.", "{sha.", "{SHA1}", "{SHA256}", "{SHA512}", "{SSHA", "{SMD5", "{MD5}5", "{MD5}X", "{MD5RAW",
		"{PLAIN-MD5", "{LDAP-MD5", "{CRAM-MD5", "{HMAC-",
	}
	for _, v := range vectors {
		isQuick := slices.ContainsFunc(quick, func(begin string) bool { return strings.HasPrefix(v.hash, begin) })
		if Slow(v.hash) == isQuick {
			t.Errorf("Slow(%s) = %v", v.hash, !isQuick)
		}
	}
}

// Every look-up of an account checks its hash.
func TestALookUpDoesNotPayForHashing(t *testing.T) {
	for _, v := range vectors {
		if n := testing.AllocsPerRun(10, func() { _ = Check(v.hash) }); n > 12 {
			t.Errorf("Check(%s) allocates %v times", v.hash, n)
		}
	}
}

// Long passwords cost a stranger nothing and must not cost us more.
func TestALongPasswordIsWrong(t *testing.T) {
	for _, hash := range []string{vectors[7].hash, "$1$saltsalt$9xy1btjgzLYfb7hivXtC//", "{SSHA}OfG1ulGPnfWaSHWBzIkRSoUck49BQkNE"} {
		if ok, err := Verify(hash, strings.Repeat("x", 1<<20)); ok || err != nil {
			t.Errorf("a password of 1 MiB: %v, %v; want false", ok, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.hash, v.clear)
	}
	for _, hash := range slices.Concat(damaged, hostile) {
		f.Add(hash, "secret")
	}
	f.Fuzz(func(t *testing.T, hash, clear string) {
		if Slow(hash) && !isDES(hash) && !strings.HasPrefix(hash, "$1$") {
			t.Skip("right, but it takes long")
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

func BenchmarkVerify(b *testing.B) {
	for _, name := range Makeable() {
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
