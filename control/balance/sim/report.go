package sim

import (
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown writes the tables of docs/CONSISTENCY.md: what each strategy broke, and which change did it. cfg is what
// res came from, with a lost node. It returns an error of w.
func (res *Result) WriteMarkdown(w io.Writer, cfg Config) error {
	var b strings.Builder
	changes := 0
	for _, n := range res.Steps {
		changes += n
	}
	fmt.Fprintf(&b, "%s connections, %s of them meant to last a minute or longer; %s packets in %.0f min; %d nodes, %d backends at first, %s slots; %d changes; one node lost after %.0f min; seed %d.\n\n",
		grouped(res.Connections), grouped(res.Long), grouped(res.Packets), cfg.Duration.Minutes(), cfg.Nodes, cfg.Backends,
		grouped(cfg.Slots), changes, cfg.LoseNode.Minutes(), cfg.Seed)
	res.writeStrategies(&b)
	b.WriteByte('\n')
	res.writeChanges(&b, len(cfg.Variants))
	_, err := io.WriteString(w, b.String())
	return err
}

func (res *Result) writeStrategies(b *strings.Builder) {
	b.WriteString("| strategy | broken | of all | of the long-lived | server died | node lost: broken | by the loss, of its connections | records at peak | packets that look up a record |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for i, o := range res.Outcomes {
		l := res.NodeLost[i]
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s | %.0f %% |\n", o.Name, grouped(o.Broken), percent(o.Broken, res.Connections),
			percent(o.BrokenLong, res.Long), grouped(o.Unavoidable), grouped(l.Broken), percent(l.By[NodeLost], l.Displaced),
			grouped(o.PeakRecords), 100*float64(o.Lookups)/float64(res.Packets))
	}
}

// writeChanges leaves out the variants of xlb but for the first.
func (res *Result) writeChanges(b *strings.Builder, variants int) {
	shown := append([]Outcome{res.Outcomes[0]}, res.Outcomes[variants:]...)
	maglev, rendezvous := res.Outcomes[len(res.Outcomes)-2], res.Outcomes[len(res.Outcomes)-1]
	b.WriteString("| change | times |")
	for _, o := range shown {
		fmt.Fprintf(b, " %s |", o.Name)
	}
	b.WriteString(" needlessly moved: xlb | Maglev | rendezvous |\n|---|---|---|---|---|" + strings.Repeat("---|", len(shown)) + "\n")
	for kind := range NodeLost {
		fmt.Fprintf(b, "| %s | %d |", kind, res.Steps[kind])
		for _, o := range shown {
			fmt.Fprintf(b, " %s |", grouped(o.By[kind]))
		}
		for _, o := range []Outcome{shown[0], maglev, rendezvous} {
			fmt.Fprintf(b, " %.2f %% |", 100*o.Needless[kind]/float64(max(1, res.Steps[kind])))
		}
		b.WriteByte('\n')
	}
}

func percent(n, of int) string {
	switch p := 100 * float64(n) / float64(max(1, of)); {
	case n == 0:
		return "0"
	case p < 0.1:
		return fmt.Sprintf("%.4f %%", p)
	default:
		return fmt.Sprintf("%.1f %%", p)
	}
}

// grouped writes an integer of at least 0 with commas between thousands.
func grouped(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
