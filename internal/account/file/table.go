package file

import (
	"fmt"
	"hash/maphash"
	"io/fs"
	"strings"
)

// A table finds the lines of a text by name. It is not changed. A million names take
// the text and 16 megabytes: a line is taken apart when somebody asks for it.
type table struct {
	text   string
	parts  []part
	format Format
	seed   maphash.Seed
	slots  []uint32 // by hash, or the next free one: 0, or 1 and where a line begins
	names  int
	notes  notes
}

// A part of the text is a file.
type part struct {
	path  string
	mode  fs.FileMode
	start int
}

// again marks a slot whose name stands on further lines.
const again = 1 << 31

// find is Lines.Find. The line does not keep the text alive.
func (t *table) find(name string) (line string, times int) {
	switch slot := *t.slot(name); {
	case name == "" || slot == 0:
		return "", 0
	case slot&again != 0:
		return strings.Clone(t.line(slot)), 2
	default:
		return strings.Clone(t.line(slot)), 1
	}
}

// slot is where a name is, or would be.
func (t *table) slot(name string) *uint32 {
	mask := uint64(len(t.slots) - 1)
	for i := maphash.String(t.seed, name) & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; *s == 0 || t.has(*s, name) {
			return s
		}
	}
}

func (t *table) has(slot uint32, name string) bool {
	line := t.line(slot)
	if !strings.HasPrefix(line, name) {
		return false
	}
	is, _ := t.format.Name(line)
	return is == name
}

func (t *table) line(slot uint32) string { return lineAt(t.text, start(slot)) }

// start is where the line of a slot begins.
func start(slot uint32) int { return int(slot&^again) - 1 }

// lineAt is the line that begins there, without its end.
func lineAt(text string, at int) string {
	line, _, _ := strings.Cut(text[at:], "\n")
	return strings.TrimSuffix(line, "\r")
}

// table indexes a text.
func (f Format) table(text string, parts []part) *table {
	t := &table{text: text, parts: parts, format: f, seed: maphash.MakeSeed()}
	var good []uint32 // where the lines begin that can be used
	for i, p := range parts {
		t.judge(p.path, p.mode)
		end := len(text)
		if i+1 < len(parts) {
			end = parts[i+1].start
		}
		good = t.goodLines(good, p, end)
	}
	size := 2
	for size < 2*len(good) {
		size *= 2
	}
	t.slots = make([]uint32, size)
	for _, at := range good {
		t.enter(at)
	}
	return t
}

// judge notes a file that lets others see passwords.
func (t *table) judge(path string, mode fs.FileMode) {
	if open := mode & t.format.Private; open != 0 {
		t.notes.add("%s: its mode %04o lets others read it, and there are passwords in it; try: chmod %04o %s", path, mode, mode&^t.format.Private, path)
	}
}

// MaxLine is how long a line may be, in bytes.
const MaxLine = 64 << 10

// goodLines adds the lines of a part that can be used, and notes those that cannot.
func (t *table) goodLines(good []uint32, p part, end int) []uint32 {
	number := 0
	for at := p.start; at < end; {
		line := lineAt(t.text, at)
		number++
		name, err := t.format.Name(line)
		if len(line) > MaxLine {
			err = fmt.Errorf("it has more than %d bytes", MaxLine)
		}
		switch {
		case err != nil:
			t.notes.add("%s:%d: %w; the line is not used", p.path, number, err)
		case name != "":
			good = append(good, uint32(at))
		}
		at += strings.IndexByte(t.text[at:], '\n') + 1
	}
	return good
}

// enter puts a line into the index. Of several with the same name the first stays.
func (t *table) enter(at uint32) {
	name, _ := t.format.Name(lineAt(t.text, int(at)))
	slot := t.slot(name)
	if *slot == 0 {
		*slot = at + 1
		t.names++
		return
	}
	if !t.notes.full() { // it takes time to say where
		t.notes.add("%s: the name %.80q stands on %s already", t.place(int(at)), name, t.place(start(*slot)))
	} else {
		t.notes.more++
	}
	*slot |= again
}

// place says in which line of which file something is.
func (t *table) place(at int) string {
	p := t.parts[0]
	for _, next := range t.parts {
		if next.start <= at {
			p = next
		}
	}
	return fmt.Sprintf("%s:%d", p.path, 1+strings.Count(t.text[p.start:at], "\n"))
}
