package demo

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/loader"
	"github.com/xlb-project/xlb/testenv"
)

func TestLabThatCannotBeBuiltIsExplained(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{unix.EPERM, "--privileged"},
		{unix.EOPNOTSUPP, "CONFIG_VETH"},
		{unix.EINVAL, "CONFIG_NET_NS"},
		{loader.ErrNoBPF, "CONFIG_BPF_SYSCALL"},
	} {
		err := explainBuild(fmt.Errorf("build lab: %w", c.err))
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: explained as %v, want %q", c.err, err, c.want)
		}
	}
	if err := explainBuild(nil); err != nil {
		t.Error(err)
	}
}

func TestNodeConfigurationIsValidForAnyNumberOfBackends(t *testing.T) {
	for _, n := range []int{2, MaxBackends} {
		lab := testenv.New(t, testenv.NewRouted, testenv.Options{Backends: n})
		cfg, err := config.Parse("xlb.yaml", []byte(nodeConfig(lab)))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(cfg.Services[0].Backends); got != n {
			t.Errorf("%d backends, want %d", got, n)
		}
	}
}

func TestDataPathOfAnInterfaceWithoutProgramIsAnError(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Backends: 1})
	if _, err := readDataPath(lab.LB, lab.LBInterfaces[0]); err == nil || !strings.Contains(err.Error(), "none is attached") {
		t.Errorf("got %v", err)
	}
}
