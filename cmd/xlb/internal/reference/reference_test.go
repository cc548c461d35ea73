package reference

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func tree() *cobra.Command {
	root := &cobra.Command{Use: "xlb", Short: "A balancer", Version: "v1"}
	cmd := &cobra.Command{
		Use: "run -c FILE", Short: "Run it", Long: "Runs `xlb`, and\n.more; a \\ too.", Example: "  xlb run -c x.yaml",
		Run: func(*cobra.Command, []string) {},
	}
	cmd.Flags().StringP("config", "c", "/etc/x.yaml", "configuration `file`")
	cmd.Flags().Bool("secret", false, "")
	_ = cmd.Flags().MarkHidden("secret")
	root.AddCommand(cmd, &cobra.Command{Use: "internal", Hidden: true, Run: cmd.Run})
	return root
}

var statuses = []ExitStatus{{0, "done"}, {2, "see `--help`"}}

func TestManPageQuotesWhatRoffWouldTake(t *testing.T) {
	page := Man(tree().Commands()[1], statuses)
	want := `.TH XLB-RUN 1 "" "xlb v1" "xlb"
.SH NAME
xlb\-run \- run it
.SH SYNOPSIS
.B xlb run
\-c FILE [flags]
.SH DESCRIPTION
Runs \fBxlb\fR, and
\&.more; a \e too.
.SH OPTIONS
.TP
\fB\-c, \-\-config\fR \fIfile\fR
configuration file (default /etc/x.yaml)
.SH EXAMPLES
.nf
  xlb run \-c x.yaml
.fi
.SH EXIT STATUS
.TP
0
done
.TP
2
see \fB\-\-help\fR
.SH SEE ALSO
.BR xlb (1)
`
	if page != want {
		t.Errorf("page:\n%s\nwant:\n%s", page, want)
	}
}

func TestMarkdownHasEveryCommandThatIsNotHidden(t *testing.T) {
	text := Markdown(tree(), statuses)
	for _, part := range []string{"## xlb run\n\n    xlb run -c FILE\n", "| `-c, --config file` | configuration file (default /etc/x.yaml) |", "\n    xlb run -c x.yaml\n", "| 2 | see `--help` |"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in:\n%s", part, text)
		}
	}
	if strings.Contains(text, "internal") || strings.Contains(text, "secret") {
		t.Errorf("it has what is hidden:\n%s", text)
	}
}
