package explain

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/xlb-project/xlb/maps"
)

// Printer writes explanations one by one.
type Printer func(Explanation) error

// JSON writes one object in a line for each packet.
func JSON(w io.Writer) Printer {
	encoder := json.NewEncoder(w)
	return func(e Explanation) error { return encoder.Encode(e) }
}

// Table writes one line for each packet. Columns grow with what has been in them,
// so that packets need not be known before they are printed.
func Table(w io.Writer) Printer {
	widths := []int{6, 15, 21, 21, 8, 8, 10, 8, 8} // typical ones
	row := func(cells ...string) error {
		var line strings.Builder
		for i, cell := range cells {
			if i < len(widths) {
				widths[i] = max(widths[i], len(cell))
			}
			switch {
			case i == 0:
				fmt.Fprintf(&line, "%*s", widths[i], cell)
			case i < len(widths):
				fmt.Fprintf(&line, "  %-*s", widths[i], cell)
			default:
				line.WriteString("  " + cell)
			}
		}
		_, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
		return err
	}
	header := false
	return func(e Explanation) error {
		if !header {
			header = true
			if err := row("PACKET", "TIME (UTC)", "FROM", "TO", "PROTOCOL", "VERDICT", "REASON", "SERVICE", "BACKEND"); err != nil {
				return err
			}
		}
		note := ""
		if e.Truncated {
			note = "truncated in the capture"
		}
		return row(fmt.Sprint(e.Packet), clock(e), e.Source, e.Destination, e.Protocol, e.Verdict, e.Reason, dash(e.Service), backend(e), note)
	}
}

func clock(e Explanation) string {
	if e.Time.IsZero() {
		return "-"
	}
	return e.Time.UTC().Format("15:04:05.000000")
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// backend writes name and address, once if they are the same.
func backend(e Explanation) string {
	if e.Backend == e.Address {
		return dash(e.Backend)
	}
	return fmt.Sprintf("%s (%s)", e.Backend, e.Address)
}

// Block writes a packet at length: the headers that leave, and all bytes.
func Block(w io.Writer) Printer {
	return func(e Explanation) error {
		var b strings.Builder
		fmt.Fprintf(&b, "%s -> %s %s, %d bytes\n\n", e.Source, e.Destination, e.Protocol, e.BytesIn)
		fmt.Fprintf(&b, "verdict  %s\nreason   %s: %s\nservice  %s\nbackend  %s\n", e.Verdict, e.Reason, e.Why, dash(e.Service), backend(e))
		if len(e.Out) > 0 {
			fmt.Fprintf(&b, "leaves   %d bytes\n\n", len(e.Out))
			for _, line := range headers(e.Out, e.forward) {
				fmt.Fprintf(&b, "  %s\n", line)
			}
			fmt.Fprintf(&b, "\n  %s\n", strings.ReplaceAll(strings.TrimSpace(hex.Dump(e.Out)), "\n", "\n  "))
		}
		_, err := io.WriteString(w, b.String())
		return err
	}
}

// Summary counts explanations by reason.
type Summary struct {
	packets, left int
	reasons       map[string]int
	why           map[string]string
}

// Add counts one.
func (s *Summary) Add(e Explanation) {
	if s.reasons == nil {
		s.reasons, s.why = map[string]int{}, map[string]string{}
	}
	s.packets++
	if len(e.Out) > 0 {
		s.left++
	}
	s.reasons[e.Reason]++
	s.why[e.Reason] = e.Why
}

// String is one line: 7 packets, 4 leave: 3 forwarded, 1 echo_replied, 3 not_ours.
func (s *Summary) String() string {
	line := fmt.Sprintf("%d packets, %d leave", s.packets, s.left)
	for i, r := range s.order() {
		line += fmt.Sprintf("%s %d %s", map[bool]string{true: ":", false: ","}[i == 0], s.reasons[r], r)
	}
	return line
}

// Sentences are the reasons that occurred with what they mean.
func (s *Summary) Sentences() []string {
	var lines []string
	for _, r := range s.order() {
		lines = append(lines, fmt.Sprintf("%s: %s", r, s.why[r]))
	}
	return lines
}

// order is that of the reasons' numbers.
func (s *Summary) order() []string {
	var order []string
	for _, r := range maps.Reasons() {
		order = append(order, r.String())
	}
	order = append(order, notRun)
	return slices.DeleteFunc(order, func(r string) bool { return s.reasons[r] == 0 })
}
