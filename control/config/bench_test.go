package config

import (
	"bytes"
	"fmt"
	"testing"
)

// BenchmarkLargeConfiguration reads, writes and compares a thousand services with
// ten backends each.
func BenchmarkLargeConfiguration(b *testing.B) {
	text := bytes.NewBufferString("interfaces: [eth0]\nservices:\n")
	for i := range 1000 {
		fmt.Fprintf(text, "  - {name: s%d, vip: 192.0.%d.%d, port: [80, 443], forward: ipip, health: {http: {path: /up, port: 80}}, backends: [", i, i/250, i%250)
		for k := range 10 {
			fmt.Fprintf(text, "{address: 10.%d.%d.%d, weight: %d}, ", k, i/250, i%250, k+1)
		}
		text.WriteString("]}\n")
	}
	c, err := Parse("large", text.Bytes())
	if err != nil {
		b.Fatal(err)
	}
	again, err := Parse("large", text.Bytes())
	if err != nil {
		b.Fatal(err)
	}
	again.Services[999].Backends[9].Weight = 77
	o := Between(c, again)
	b.Run("parse", func(b *testing.B) {
		for b.Loop() {
			if _, err := Parse("large", text.Bytes()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			if err := c.Write(new(bytes.Buffer)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("diff", func(b *testing.B) {
		for b.Loop() {
			if len(Diff(c, again)) != 1 {
				b.Fatal("not one change")
			}
		}
	})
	b.Run("merge", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := Merge(c, o); err != nil {
				b.Fatal(err)
			}
		}
	})
}
