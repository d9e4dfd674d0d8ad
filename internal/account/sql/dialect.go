package sql

import "strconv"

// A dialect is how a kind of database writes SQL, as far as one must know to tell
// what is quoted from what is not.
type dialect struct {
	name  string
	place func(n int) string // of the nth value, counted from 1
	quote string             // around names

	doubleQuotesText bool   // "…" is text, elsewhere a name
	backslashes      bool   // \ escapes in texts
	escapeTexts      bool   // E'…', in which \ escapes
	backticks        bool   // `…` is a name
	brackets         bool   // […] is a name
	dollars          bool   // $tag$…$tag$ is text
	nested           bool   // /* /* */ */
	hash             bool   // # begins a comment
	executed         bool   // /*! … */ is executed
	dashesNeedBlank  bool   // "--" is a comment only before white space
	places           string // characters that begin the place of a value in its own way
	forUpdate        string // locks the rows of a SELECT until the transaction ends

	complaint func(error) (complaint, bool) // what a server says, if it has said something
}

func question(int) string { return "?" }

var (
	postgreSQL = &dialect{
		name: "postgres", place: func(n int) string { return "$" + strconv.Itoa(n) }, quote: `"`,
		escapeTexts: true, dollars: true, nested: true, places: "$", forUpdate: " FOR UPDATE", complaint: postgresComplaint,
	}
	// MySQL and MariaDB, with their usual sql_mode: not ANSI_QUOTES, not NO_BACKSLASH_ESCAPES.
	mySQL = &dialect{
		name: "mysql", place: question, quote: "`",
		doubleQuotesText: true, backslashes: true, backticks: true, hash: true, executed: true, dashesNeedBlank: true, places: "?", forUpdate: " FOR UPDATE",
		complaint: mysqlComplaint,
	}
	sqLite = &dialect{
		name: "sqlite", place: question, quote: "`", // what stands in "…" and is no name, SQLite takes for a text
		backticks: true, brackets: true, places: "?:@$", complaint: sqliteComplaint,
	}
)
