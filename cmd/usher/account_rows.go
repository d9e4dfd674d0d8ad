package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"usher/internal/account"
)

// formatOf is the --format of an import or export: as given, else by the name
// of the file, else csv.
func formatOf(flag, file string) (string, error) {
	switch {
	case flag == "csv" || flag == "jsonl":
		return flag, nil
	case flag != "":
		return "", usage("--format %q is neither csv nor jsonl", flag)
	}
	switch strings.ToLower(filepath.Ext(file)) {
	case ".jsonl", ".ndjson", ".json":
		return "jsonl", nil
	}
	return "csv", nil
}

// readRows reads the accounts of a file one by one.
func readRows(format string, r io.Reader) iter.Seq2[account.Row, error] {
	return func(yield func(account.Row, error) bool) {
		read := readCSV
		if format == "jsonl" {
			read = readJSONL
		}
		err := read(r, func(line int, f account.Fields) error {
			if !yield(account.Row{Line: line, Fields: f}, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(account.Row{}, err)
		}
	}
}

// errEnough ends the reading of rows because nobody wants more.
var errEnough = errors.New("enough")

// readCSV reads RFC 4180 with a first line of field names.
func readCSV(r io.Reader, row func(int, account.Fields) error) error {
	in := csv.NewReader(withoutMark(r))
	in.ReuseRecord = true
	names, err := readHeader(in)
	if err != nil {
		return err
	}
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return badCSV(err, len(names))
		}
		f := make(account.Fields, len(names))
		for i, name := range names {
			f[name] = strings.Clone(cells[i]) // the record's memory is used again
		}
		line, _ := in.FieldPos(0)
		if err := row(line, f); err != nil {
			return err
		}
	}
}

// withoutMark drops the byte order mark that Excel writes.
func withoutMark(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	if mark, _ := b.Peek(3); string(mark) == "\ufeff" {
		_, _ = b.Discard(3)
	}
	return b
}

func readHeader(in *csv.Reader) ([]string, error) {
	cells, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, no("the file is empty; a CSV file begins with a line of field names")
	}
	if err != nil {
		return nil, badCSV(err, 0)
	}
	var names []string
	for _, cell := range cells {
		name := account.FieldName(cell)
		if slices.Contains(names, name) {
			return nil, no("line 1: two columns are the field %q", name)
		}
		names = append(names, name)
	}
	if !slices.Contains(names, "user") {
		return nil, no("line 1: no column is named user; a CSV file begins with a line of field names")
	}
	return names, nil
}

// badCSV tells a wrong line from a file that cannot be read. It does not quote
// the line: there may be a password in it.
func badCSV(err error, columns int) error {
	var bad *csv.ParseError
	switch {
	case !errors.As(err, &bad):
		return fmt.Errorf("read the file: %w", err)
	case errors.Is(err, csv.ErrFieldCount):
		return no("line %d: it has not the %d fields that line 1 names", bad.StartLine, columns)
	}
	return no("line %d: %w", bad.Line, bad.Err)
}

// maxLine is the longest JSON line.
const maxLine = 1 << 20

// readJSONL reads one JSON object on each line.
func readJSONL(r io.Reader, row func(int, account.Fields) error) error {
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	line := 0
	for in.Scan() {
		line++
		if len(bytes.TrimSpace(in.Bytes())) == 0 {
			continue
		}
		f, err := parseObject(in.Bytes())
		if err != nil {
			return no("line %d: %w", line, err)
		}
		if err := row(line, f); err != nil {
			return err
		}
	}
	if errors.Is(in.Err(), bufio.ErrTooLong) {
		return no("line %d: it is longer than %d bytes", line+1, maxLine)
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	return nil
}

func parseObject(text []byte) (account.Fields, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is not valid UTF-8") // json would replace what it cannot read
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, fmt.Errorf("it is not a JSON object: %w", err)
	}
	f := make(account.Fields, len(object))
	for name, raw := range object {
		value, err := parseScalar(raw)
		if err != nil {
			return nil, fmt.Errorf("field %.40q: %w", name, err)
		}
		f[name] = value
	}
	return f, nil
}

// parseScalar takes strings, and numbers and booleans as other programs write
// them. null is no value.
func parseScalar(raw json.RawMessage) (value string, err error) {
	switch raw[0] {
	case '"':
		err = json.Unmarshal(raw, &value)
		return value, err
	case 't':
		return "Y", nil
	case 'f':
		return "N", nil
	case 'n':
		return "", nil
	case '{', '[':
		return "", errors.New("it is neither a string nor a number nor true or false")
	}
	return string(raw), nil
}
