package account

import "testing"

func TestAnOwnerIsReadOnlyOfGoodFields(t *testing.T) {
	good := map[string]string{"uid": "1000", "gid": "1001", "home": "/home/ann", "mail": "Maildir"}
	o, err := (&Account{Attrs: good}).Owner()
	if want := (Owner{1000, 1001, "/home/ann", "Maildir"}); err != nil || o != want {
		t.Errorf("%+v, %v; want %+v", o, err, want)
	}
	for field, value := range map[string]string{"uid": "vmail", "gid": "-1", "home": "home/ann"} {
		for _, value := range []string{value, "", "4294967295", "99999999999"} {
			bad := map[string]string{"uid": "1000", "gid": "1001", "home": "/home/ann"}
			bad[field] = value
			if o, err := (&Account{Attrs: bad}).Owner(); err == nil {
				t.Errorf("%s = %q is taken: %+v", field, value, o)
			}
		}
	}
}
