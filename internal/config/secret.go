package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"
)

func isSecret(f reflect.StructField) bool {
	return f.Type == reflect.TypeFor[Secret]() || f.Tag.Get("as") == "secret"
}

// fileKey is the key beside a secret's own that names a file with the secret.
func fileKey(name string) string { return name + "_file" }

// secret decodes a key that may be given as it is or as the name of a file.
func (d *decoder) secret(into reflect.Value, f reflect.StructField, table map[string]any, key string) {
	name := keyOf(f)
	file, inFile := table[fileKey(name)]
	if !inFile || isOff(file) {
		d.field(into, f, table, key)
		return
	}
	if v, written := table[name]; written && !isOff(v) {
		d.mistakes.add(d.doc.mistakeInKey(join(key, fileKey(name)),
			fmt.Sprintf("%s is given too", name), "keep one of the two"))
		return
	}
	var path Path
	key = join(key, fileKey(name))
	d.value(reflect.ValueOf(&path).Elem(), file, key, "")
	if path == "" {
		return // a mistake already
	}
	text, err := d.secretFile(string(path), key)
	if err != nil {
		d.wrong(key, err.Error(), "put the secret there, readable for whoever starts usher")
		return
	}
	into.SetString(text)
}

// secretFile reads a secret. The newline that editors put at the end is not
// part of it.
func (d *decoder) secretFile(path, key string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", cannotRead(path, err)
	}
	if !info.Mode().IsRegular() { // reading a device or pipe could take forever
		return "", fmt.Errorf("%q is not a plain file", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", cannotRead(path, err)
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if s == "" {
		return "", fmt.Errorf("%q is empty", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		d.warnings.add(d.doc.mistake(key, fmt.Sprintf("others can read or change %q (mode %04o)", path, mode),
			fmt.Sprintf("chmod 600 %q", path)))
	}
	return s, nil
}

func cannotRead(path string, err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return fmt.Errorf("cannot read %q: %w", path, err)
}
