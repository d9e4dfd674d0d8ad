-- +goose Up
CREATE TABLE accounts (
	user          TEXT NOT NULL PRIMARY KEY COLLATE NOCASE,
	password      TEXT, -- {SCHEME}hash or crypt(3); in every column NULL and '' mean: not set
	nopassword    TEXT,
	host          TEXT,
	port          TEXT,
	destuser      TEXT,
	pass          TEXT,
	master        TEXT,
	ssl           TEXT,
	starttls      TEXT,
	proxy_mech    TEXT,
	proxy_timeout TEXT,
	nologin       TEXT,
	reason        TEXT,
	code          TEXT,
	attrs         TEXT, -- all other fields, as one JSON object of strings
	changed       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
) WITHOUT ROWID;

-- +goose Down
DROP TABLE accounts;
