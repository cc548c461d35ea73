package demo

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/testenv"
)

// DataPath is what xlb's program in the driver cost. The time of each run
// includes what the kernel needs to take it, some tens of nanoseconds.
type DataPath struct {
	Runs       uint64  `json:"runs"` // one per packet that came in, of the service or not
	RunSeconds float64 `json:"runSeconds"`
	NsPerRun   float64 `json:"nsPerRun"`
	CPUSeconds float64 `json:"cpuSeconds"` // user and system time of the demo and of xlb, all that it includes
	CPUPercent float64 `json:"cpuPercent"` // RunSeconds of CPUSeconds
}

// enableStats has the kernel take the time of BPF programs until it is closed.
func enableStats() (io.Closer, error) {
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return nil, fmt.Errorf("enable BPF run-time statistics: %w", err)
	}
	return stats, nil
}

// readDataPath reads the statistics of the program on an interface since it was loaded.
func readDataPath(n *testenv.Namespace, ifname string) (DataPath, error) {
	fail := func(err error) (DataPath, error) {
		return DataPath{}, fmt.Errorf("read statistics of the program on %s/%s: %w", n.Name(), ifname, err)
	}
	link, err := n.Netlink().LinkByName(ifname)
	if err != nil {
		return fail(err)
	}
	xdp := link.Attrs().Xdp
	if xdp == nil || !xdp.Attached {
		return fail(errors.New("none is attached"))
	}
	prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(xdp.ProgId))
	if err != nil {
		return fail(err)
	}
	defer prog.Close()
	stats, err := prog.Stats()
	if err != nil {
		return fail(err)
	}
	d := DataPath{Runs: stats.RunCount, RunSeconds: stats.Runtime.Seconds()}
	if d.Runs > 0 {
		d.NsPerRun = float64(stats.Runtime) / float64(d.Runs)
	}
	return d, nil
}

func (d *DataPath) setCPU(t time.Duration) {
	d.CPUSeconds = t.Seconds()
	if t > 0 {
		d.CPUPercent = 100 * d.RunSeconds / d.CPUSeconds
	}
}

// cpuTime returns the CPU time that this process and its ended children have used.
func cpuTime() time.Duration {
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var usage unix.Rusage
		// It fails only for a bad argument.
		if unix.Getrusage(who, &usage) == nil {
			sum += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		}
	}
	return sum
}
