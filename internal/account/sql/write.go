package sql

type write struct {
	Table   string            `toml:"table"`
	Key     string            `toml:"key"`
	Columns map[string]string `toml:"columns"`
}

func (w write) given() bool  { return w.Table != "" }
func (w write) check() error { return nil }
