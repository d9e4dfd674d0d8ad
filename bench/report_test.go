//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestTheVerdictSaysWhatIsMissed(t *testing.T) {
	m := &measurement{plan: plan{idle: []int{500, 8000}}, results: results{}}
	for f, values := range map[figure]map[string][]float64{
		loginIMAP:        {"usher": {100, 300, 90}, "nginx": {130}, "Dovecot": {200}},
		bulkPlain:        {"usher": {0.2}},
		idle(false, 500): {"usher": {1}},
	} {
		for name, vs := range values {
			for _, v := range vs {
				m.results.add(f, name, v)
			}
		}
	}
	for name, c := range map[string]struct {
		row  row
		own  float64
		want string
	}{
		"part of a peer": {row{"", loginIMAP, []target{{most: 0.75, of: "nginx"}, {most: 0.65, of: "Dovecot"}}}, 100, "**missed by 3 %**, reached"},
		"a number":       {row{"", bulkPlain, []target{{most: 0.30}}}, 0.2, "reached"},
		"growth":         {row{"", idle(false, 8000), []target{{most: 1.1, own: idle(false, 500)}}}, 1.2, "**missed by 10 %**"},
		"no such peer":   {row{"", loginIMAP, []target{{most: 1, of: "perdition"}}}, 100, "not measured"},
		"nothing is set": {row{"", trip, nil}, 100, ""},
	} {
		if got := m.verdict(c.row, c.own, true)[1]; got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestEveryFigureHasARow(t *testing.T) {
	m := &measurement{plan: plan{rounds: 1, idle: []int{500, 2000, 8000}}, results: results{}}
	for i, r := range m.rows() {
		m.results.add(r.figure, "usher", float64(i)+0.125)
	}
	page := m.report(nil)
	for _, r := range m.rows() {
		if v, _ := m.results.median(r.figure, "usher"); !strings.Contains(page, "| "+r.name+" | "+number(v, true)+" |") {
			t.Errorf("%s is not in\n%s", r.name, page)
		}
	}
}

func TestMediansAreInTheMiddle(t *testing.T) {
	r := results{}
	for _, v := range []float64{9, 1, 5, 3} {
		r.add(trip, "usher", v)
	}
	if v, ok := r.median(trip, "usher"); v != 4 || !ok {
		t.Errorf("the median is %v, %v", v, ok)
	}
	if _, ok := r.median(trip, "nginx"); ok {
		t.Error("there is a median of nothing")
	}
}
