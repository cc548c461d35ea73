package demo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/loader"
	"github.com/xlb-project/xlb/testenv"
)

// ErrNotRoot means that this process may not build a lab.
var ErrNotRoot = errors.New("demo needs root: it builds network namespaces; run `sudo xlb demo`")

// nodeConfig is xlb's configuration in the lab. The key of the flow hash is
// written out so that every run on every machine shows the same shares.
func nodeConfig(lab *testenv.Lab) string {
	var b strings.Builder
	fmt.Fprintf(&b, "interfaces: [%s]\n", strings.Join(lab.LBInterfaces, ", "))
	b.WriteString("hash_key: 786c622064656661756c74206b657921\nmetrics: {listen: \"off\"}\nservices:\n")
	fmt.Fprintf(&b, "  - name: web\n    vip: %s\n    port: %d\n    protocol: tcp\n    forward: ipip\n", lab.VIPs[0], lab.Port)
	b.WriteString("    health: {http: {path: /healthz}, interval: 100ms, timeout: 1s, rise: 2, fall: 2}\n    backends:\n")
	for _, backend := range lab.Backends {
		fmt.Fprintf(&b, "      - {name: %s, address: %s}\n", backend.Name(), backend.Addr)
	}
	return b.String()
}

// buildLab returns a lab whose backends unpack tunnels with xlb's own program.
// It returns ErrNotRoot for anybody but root.
func buildLab(backends int) (*testenv.Lab, error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	lab, err := testenv.NewRouted(testenv.Options{Backends: backends, Decap: decap})
	return lab, explainBuild(err)
}

func decap(n *testenv.Namespace, device string) (io.Closer, error) {
	var d *loader.Decap
	err := n.Do(func() (err error) {
		d, err = loader.AttachDecap(device, loader.Native, loader.DecapOptions{})
		return err
	})
	if err != nil {
		return nil, err // never a closer that holds a nil pointer
	}
	return d, nil
}

// explainBuild adds a remedy to what kept a lab from being built.
func explainBuild(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: root lacks capabilities here; in a container, give it all of them (--privileged)", err)
	case errors.Is(err, loader.ErrNoBPF):
		return err
	}
	return fmt.Errorf("%w: the demo needs a kernel with network namespaces, veth and XDP (CONFIG_NET_NS, CONFIG_VETH, CONFIG_BPF_SYSCALL; try `modprobe veth`)", err)
}
