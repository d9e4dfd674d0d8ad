package sql

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// What to do about complaints that databases have in common.
const (
	todoLogin    = "check user and password in dsn"
	todoDatabase = "check dbname in dsn, and that the user may use it"
	todoTable    = "check the table's name, its schema, and that it is the right database"
	todoColumn   = "check the columns' names in the query"
	todoFunction = "check the function's name, its schema and its arguments"
	todoGrant    = "let the user of dsn do that (GRANT)"
	todoMany     = "let the database have more connections, or lower pool"
	todoSyntax   = "try the query by hand"
)

// questionClasses are the classes of SQLSTATE that say the question is wrong, or what
// is stored: ISO/IEC 9075-2, 24.1; in PostgreSQL also 54, a limit that it goes beyond. A
// name that a stranger chooses shall not make the server look ill.
var questionClasses = []string{"0A", "21", "22", "23", "38", "39", "42", "44", "45", "54", "P0"}

// https://www.postgresql.org/docs/15/errcodes-appendix.html
func postgresComplaint(err error) (complaint, bool) {
	var e *pgconn.PgError
	if !errors.As(err, &e) || len(e.Code) != 5 {
		return complaint{}, false
	}
	todo := map[string]string{
		"28000": todoLogin, "28P01": todoLogin, "3D000": todoDatabase, "42P01": todoTable, "3F000": todoTable,
		"42703": todoColumn, "42883": todoFunction, "42501": todoGrant, "53300": todoMany, "42601": todoSyntax,
	}
	wrong := slices.Contains(questionClasses, e.Code[:2]) || e.Code == "3F000"
	return complaint{e.Message, e.Code, wrong, todo[e.Code], e.Code == "23505"}, true
}

// https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html,
// https://mariadb.com/kb/en/mariadb-error-code-reference/
func mysqlComplaint(err error) (complaint, bool) {
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return complaint{}, false
	}
	todo := map[uint16]string{
		1045: todoLogin, 1698: todoLogin, 1044: todoDatabase, 1049: todoDatabase, 1146: todoTable, 1054: todoColumn,
		1305: todoFunction, 1318: todoFunction, 1142: todoGrant, 1143: todoGrant, 1370: todoGrant, 1040: todoMany, 1203: todoMany, 1064: todoSyntax,
	}
	question := slices.Contains(questionClasses, string(e.SQLState[:2]))
	switch e.Number {
	case 1044, 1049, 1203, 1226: // databases and limits of the login: of class 42 all the same
		question = false
	case 1191, 1267, 1270, 1271, 1292, 1366: // an index, collations and values: of class HY
		question = true
	}
	return complaint{e.Message, "error " + strconv.Itoa(int(e.Number)), question, todo[e.Number], e.Number == 1062}, true
}

// https://www.sqlite.org/rescode.html
func sqliteComplaint(err error) (complaint, bool) {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return complaint{}, false
	}
	code := e.Code() & 0xff // the rest tells more exactly where
	todo := map[int]string{
		lib.SQLITE_BUSY:     "another process is writing for long: wait for it or end it",
		lib.SQLITE_LOCKED:   "another process is writing for long: wait for it or end it",
		lib.SQLITE_CANTOPEN: "check the owner and mode of the file, of its folder, and of the -wal and -shm beside it",
		lib.SQLITE_READONLY: "check the owner and mode of the file and its folder",
		lib.SQLITE_PERM:     "check the owner and mode of the file and its folder",
		lib.SQLITE_CORRUPT:  "the file is damaged: put a backup in its place",
		lib.SQLITE_NOTADB:   "is it the right file? else put a backup in its place",
		lib.SQLITE_FULL:     "the disk is full: make room",
		lib.SQLITE_IOERR:    "the disk cannot be read or written: look at the system's log",
	}
	for said, do := range map[string]string{"no such table": todoTable, "no such column": todoColumn, "no such function": todoFunction, "syntax error": todoSyntax} {
		if strings.Contains(e.Error(), said) {
			todo[lib.SQLITE_ERROR] = do
		}
	}
	question := []int{lib.SQLITE_ERROR, lib.SQLITE_MISMATCH, lib.SQLITE_RANGE, lib.SQLITE_TOOBIG, lib.SQLITE_CONSTRAINT}
	exists := e.Code() == lib.SQLITE_CONSTRAINT_UNIQUE || e.Code() == lib.SQLITE_CONSTRAINT_PRIMARYKEY
	return complaint{e.Error(), "code " + strconv.Itoa(code), slices.Contains(question, code), todo[code], exists}, true
}
