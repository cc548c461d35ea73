package loader

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

func TestKernelRefusalsBecomeSentencesWithARemedy(t *testing.T) {
	for _, c := range []struct {
		err  error
		want error
		says string
	}{
		{unix.EPERM, ErrPrivilege, "run as root"},
		{fmt.Errorf("create map: %w", unix.EACCES), ErrPrivilege, "CAP_BPF"},
		{unix.ENOSYS, ErrNoBPF, "CONFIG_BPF_SYSCALL"},
		{fmt.Errorf("map create: %w", ebpf.ErrNotSupported), ErrNoBPF, "Linux 5.15"},
		{unix.ENOMEM, nil, "lower limits"},
		{&ebpf.VerifierError{Cause: unix.EINVAL}, nil, "verifier refuses"},
	} {
		got := explainLoad(c.err)
		if c.want != nil && !errors.Is(got, c.want) {
			t.Errorf("%v became %v, want %v", c.err, got, c.want)
		}
		if !strings.Contains(got.Error(), c.says) {
			t.Errorf("%v became %q, which does not say %q", c.err, got, c.says)
		}
	}
}
