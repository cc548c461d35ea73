package reference

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// WriteMan writes a man page for each command into a directory.
func WriteMan(dir string, root *cobra.Command, statuses []ExitStatus) error {
	if err := os.MkdirAll(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the directory for man pages: %w", err)
	}
	var errs []error
	each(root, func(cmd *cobra.Command) {
		errs = append(errs, os.WriteFile(filepath.Join(dir, pageOf(cmd)+".1"), []byte(Man(cmd, statuses)), 0o644))
	})
	return errors.Join(errs...)
}

// pageOf names a command's page: xlb-backend-drain.
func pageOf(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// Man returns a command's man page.
func Man(cmd *cobra.Command, statuses []ExitStatus) string {
	var b strings.Builder
	page := pageOf(cmd)
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"xlb %s\" \"xlb\"\n", strings.ToUpper(page), cmd.Root().Version)
	short := strings.ToLower(cmd.Short[:1]) + cmd.Short[1:]
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", escape(page), escape(short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n%s\n", escape(cmd.CommandPath()), escape(strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath()+" ")))
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", paragraph(textOf(cmd)))
	if commands := commandsOf(cmd); len(commands) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, c := range commands {
			fmt.Fprintf(&b, ".TP\n.BR %s (1)\n%s\n", escape(pageOf(c)), escape(c.Short))
		}
	}
	if flags := flagsOf(cmd); len(flags) > 0 {
		b.WriteString(".SH OPTIONS\n")
		for _, f := range flags {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fR \\fI%s\\fR\n%s\n", escape(f.names), escape(f.value), paragraph(f.usage))
		}
	}
	if cmd.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", escape(cmd.Example))
	}
	b.WriteString(".SH EXIT STATUS\n")
	for _, s := range statuses {
		fmt.Fprintf(&b, ".TP\n%d\n%s\n", s.Status, paragraph(s.Meaning))
	}
	if cmd.HasParent() {
		fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s (1)\n", escape(pageOf(cmd.Parent())))
	}
	return b.String()
}

func commandsOf(cmd *cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			out = append(out, c)
		}
	}
	return out
}

// paragraph is running text, in which backquotes mark what is typed.
func paragraph(text string) string {
	parts := strings.Split(escape(text), "`")
	var b strings.Builder
	for i, part := range parts {
		switch {
		case i == 0:
			b.WriteString(part)
		case i%2 == 1 && i < len(parts)-1:
			b.WriteString(`\fB` + part)
		default:
			b.WriteString(`\fR` + part)
		}
	}
	return b.String()
}

// escape keeps roff from taking text for its own.
func escape(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
