package loader

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/maps"
	"github.com/xlb-project/xlb/testenv"
)

// prober is a lab whose balancer runs the data path and probes.
type prober struct {
	*testing.T
	*testenv.Lab
	dataplane *Dataplane
	probes    *Probes
}

func newProber(t *testing.T, build func(testenv.Options) (*testenv.Lab, error)) *prober {
	t.Helper()
	decap := func(n *testenv.Namespace, device string) (closer io.Closer, err error) {
		err = n.Do(func() error {
			closer, err = AttachDecap(device, Native, DecapOptions{})
			return err
		})
		return closer, err
	}
	p := &prober{T: t, Lab: testenv.New(t, build, testenv.Options{
		VIPs: []netip.Addr{testenv.DefaultVIP, testenv.DefaultVIP6}, Decap: decap,
	})}
	p.must(p.LB.Do(func() error {
		opts := options(p.LBInterfaces...)
		opts.Features = maps.AllFeatures()
		inst := testInstance()
		p.Cleanup(func() { p.must(p.LB.Do(func() error { return Down(inst) })) })
		var err error
		p.dataplane, _, err = Open(inst, opts)
		p.must(err)
		return p.dataplane.Publish()
	}))
	t.Cleanup(func() { p.dataplane.Close() })
	p.must(p.dataplane.Tables.SetListeners([]maps.Listener{
		{VIP: netip.PrefixFrom(testenv.DefaultVIP, 32), First: 80, Last: 80, Protocol: maps.TCP},
		{VIP: netip.PrefixFrom(testenv.DefaultVIP6, 128), First: 80, Last: 80, Protocol: maps.TCP},
	}))
	p.probes = p.attach()
	return p
}

func (p *prober) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// attach attaches probes until the end of the test.
func (p *prober) attach() (probes *Probes) {
	p.Helper()
	p.must(p.LB.Do(func() (err error) {
		probes, err = AttachProbes(p.dataplane)
		return err
	}))
	p.Cleanup(func() {
		if err := p.LB.Do(probes.Close); err != nil {
			p.Error(err)
		}
	})
	return probes
}

// interfaceOf is an interface of the balancer.
func (p *prober) interfaceOf(name string) netlink.Link {
	p.Helper()
	l, err := p.LB.Netlink().LinkByName(name)
	p.must(err)
	return l
}

// way is how packets get to a backend.
type way struct {
	forward  maps.Forward
	over6    bool
	checksum bool
	port     uint16 // of gue; 0: the usual one
	tags     []maps.Tag
}

// backend gives a number to a backend of the lab, which packets to a VIP reach by the balancer's last interface.
func (p *prober) backend(number int, vip netip.Addr, w way) maps.BackendID {
	p.Helper()
	id := maps.BackendID(1 + number)
	p.must(p.dataplane.Tables.SetBackend(id, p.row(number, vip, w)))
	return id
}

func (p *prober) row(number int, vip netip.Addr, w way) maps.Backend {
	p.Helper()
	last := len(p.LBInterfaces) - 1
	self, node := p.interfaceOf(p.LBInterfaces[last]), p.Backends[number]
	b := maps.Backend{
		Forward: w.forward, IPv6: vip.Is6(), Up: true, Accepts: true, Ifindex: self.Attrs().Index, Egress: uint32(last), MTU: self.Attrs().MTU,
		SourceMAC: maps.MAC(self.Attrs().HardwareAddr), DestMAC: maps.MAC(node.MAC), Checksum: w.checksum, Port: cmp.Or(w.port, 6080),
	}
	copy(b.Tags[:], w.tags)
	if p.Switch == nil {
		b.DestMAC = maps.MAC(p.LBPeers[0].MAC)
	}
	if w.forward != maps.L2 {
		b.Source, b.Dest = p.LBAddr, node.Addr
		if w.over6 {
			b.Source, b.Dest = p.LBAddr6, node.Addr6
		}
	}
	return b
}

// dial connects to a VIP from the node's own address by a marked socket.
func (p *prober) dial(ctx context.Context, network string, vip netip.Addr, mark uint32) (c net.Conn, err error) {
	source := p.LBAddr
	if vip.Is6() {
		source = p.LBAddr6
	}
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var set error
		err := raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark)) })
		if err == nil {
			err = set
		}
		return err
	}}
	dialer.SetMultipathTCP(false)
	dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	if network == "udp" {
		dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	err = p.LB.Do(func() error {
		c, err = dialer.DialContext(ctx, network, netip.AddrPortFrom(vip, 80).String())
		return err
	})
	return c, err
}

// ask posts so many bytes to a VIP by a marked socket and returns which backend answered, and how many bytes it saw.
func (p *prober) ask(ctx context.Context, vip netip.Addr, mark uint32, size int) (testenv.Answer, error) {
	c, err := p.dial(ctx, "tcp", vip, mark)
	if err != nil {
		return testenv.Answer{}, err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	p.must(c.SetDeadline(deadline))
	request, err := http.NewRequest(http.MethodPost, "http://"+netip.AddrPortFrom(vip, 80).String()+"/", bytes.NewReader(make([]byte, size)))
	p.must(err)
	request.Close = true
	if err := request.Write(c); err != nil {
		return testenv.Answer{}, err
	}
	response, err := http.ReadResponse(bufio.NewReader(c), request)
	if err != nil {
		return testenv.Answer{}, err
	}
	defer response.Body.Close()
	var a testenv.Answer
	return a, json.NewDecoder(response.Body).Decode(&a)
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// reaches checks that probes of every backend of the lab meet exactly that backend's server at the VIP, with bodies of some
// sizes.
func (p *prober) reaches(t *testing.T, vip netip.Addr, w way, sizes ...int) {
	t.Helper()
	for i, b := range p.Backends {
		id := p.backend(i, vip, w)
		for _, size := range sizes {
			a, err := p.ask(soon(t), vip, p.probes.Mark(id), size)
			if err != nil || a.Backend != b.Name() || a.Bytes != int64(size) {
				counters, _ := p.probes.Counters()
				t.Errorf("%d bytes to %s were answered by %q, which saw %d: %v; probes: %+v", size, b.Name(), a.Backend, a.Bytes, err, counters)
			}
		}
	}
}

func TestProbeOfABackendIsAnsweredByThatBackendAtTheVIP(t *testing.T) {
	const large = 50_000 // many segments, which the kernel cuts behind the program
	p := newProber(t, testenv.NewRouted)
	for _, vip := range p.VIPs {
		for _, forward := range []maps.Forward{maps.IPIP, maps.GRE, maps.GUE} {
			for _, over6 := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s in %s, over IPv6 %t", vip, forward, over6), func(t *testing.T) {
					p.reaches(t, vip, way{forward: forward, over6: over6}, 0, large)
				})
			}
		}
		t.Run(fmt.Sprintf("%s in gue with checksums", vip), func(t *testing.T) {
			p.reaches(t, vip, way{forward: maps.GUE, over6: true, checksum: true}, 0, 1000)
		})
	}
	for name, build := range map[string]func(testenv.Options) (*testenv.Lab, error){"one link": testenv.NewSwitched, "two arms": testenv.NewTwoArmed} {
		p := newProber(t, build)
		for _, vip := range p.VIPs {
			t.Run(fmt.Sprintf("%s by l2 on %s", vip, name), func(t *testing.T) {
				p.reaches(t, vip, way{forward: maps.L2}, 0, large)
			})
		}
	}
}

// The kernel's own socket, unlike a program, looks at the outer checksum, which covers an inner one that is filled in later.
func TestProbesOuterChecksumIsRight(t *testing.T) {
	p := newProber(t, testenv.NewRouted)
	node := p.Backends[0]
	const port = 6081
	socket, err := node.ListenPacket("udp", netip.AddrPortFrom(node.Addr6, port).String())
	p.must(err)
	defer socket.Close()
	for _, vip := range p.VIPs {
		for network, protocol := range map[string]byte{"udp": unix.IPPROTO_UDP, "tcp": unix.IPPROTO_TCP} {
			t.Run(network+" to "+vip.String(), func(t *testing.T) {
				p.send(t, network, vip, p.backend(0, vip, way{forward: maps.GUE, over6: true, checksum: true, port: port}))
				got := make([]byte, 2000)
				deadline, _ := soon(t).Deadline()
				p.must(socket.SetReadDeadline(deadline))
				for {
					n, _, err := socket.ReadFrom(got)
					p.must(err)
					at := map[bool]int{false: 9, true: 6}[vip.Is6()]
					if n > 4+at && got[4+at] == protocol {
						break // others are of the connection before
					}
				}
			})
		}
	}
}

// send starts a connection to a VIP, or sends a datagram, by a marked socket. Nobody needs to answer.
func (p *prober) send(t *testing.T, network string, vip netip.Addr, id maps.BackendID) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		if c, err := p.dial(ctx, network, vip, p.probes.Mark(id)); err == nil {
			_, _ = c.Write([]byte("a probe"))
			c.Close()
		}
	}()
}

func TestProbesCarryTheTagsOfTheirWay(t *testing.T) {
	p := newProber(t, testenv.NewRouted)
	tap, err := testenv.OpenTap(p.LBPeers[0].NS, p.LBPeers[0].Interface)
	p.must(err)
	defer tap.Close()
	stack := []maps.Tag{{Type: 0x88a8, ID: 0x2064}, {Type: 0x8100, ID: 7}}
	for _, vip := range p.VIPs {
		for _, forward := range []maps.Forward{maps.L2, maps.GUE} {
			for tags := range 3 {
				t.Run(fmt.Sprintf("%d tags, %s to %s", tags, forward, vip), func(t *testing.T) {
					want := append(slices.Clone(p.LBPeers[0].MAC), p.interfaceOf("eth0").Attrs().HardwareAddr...)
					for _, tag := range stack[:tags] {
						want = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(want, tag.Type), tag.ID)
					}
					if forward == maps.L2 && vip.Is6() {
						want = append(want, 0x86, 0xdd, 0x60)
					} else {
						want = append(want, 0x08, 0x00, 0x45)
					}
					p.send(t, "udp", vip, p.backend(0, vip, way{forward: forward, tags: stack[:tags]}))
					_, err := tap.Find(soon(t), fmt.Sprintf("a frame that begins with %x", []byte(want)), func(f testenv.Frame) bool {
						return bytes.HasPrefix(f.Data, want) && bytes.Contains(f.Data, []byte("a probe"))
					})
					p.must(err)
				})
			}
		}
	}
}

func TestInstancesInOneNamespaceSendTheirOwnProbes(t *testing.T) {
	p := newProber(t, testenv.NewRouted)
	id := p.backend(0, p.VIPs[0], way{forward: maps.IPIP})
	first, other := p.probes, *p
	var err error
	other.dataplane, err = Load(options())
	p.must(err)
	defer other.dataplane.Close()
	other.probes = other.attach()
	p.must(other.dataplane.Tables.SetBackend(id, p.row(1, p.VIPs[0], way{forward: maps.IPIP})))
	for i, probes := range []*Probes{first, other.probes} {
		a, err := p.ask(soon(t), p.VIPs[0], probes.Mark(id), 0)
		if want := p.Backends[i].Name(); err != nil || a.Backend != want {
			t.Errorf("instance %d: %q answered, %v, want %s", i, a.Backend, err, want)
		}
	}
}

func TestProbesLeaveNothingBehind(t *testing.T) {
	p := newProber(t, testenv.NewSwitched)
	p.must(p.LB.Do(func() error {
		p.must(netlink.RuleAdd(ruleFor(netlink.FAMILY_V4, markOf(1)))) // left by a daemon that was killed
		if n := leftOvers(t); n != 3+2 {
			t.Errorf("%d rules and routes, want those of one instance and the one that was killed", n)
		}
		p.must(RemoveProbes())
		if n := leftOvers(t); n != 2+2 {
			t.Errorf("%d rules and routes after removal, want those of the instance at work", n)
		}
		p.must(p.probes.Close())
		if n := leftOvers(t); n != 0 {
			t.Errorf("%d rules and routes after close, want none", n)
		}
		return nil
	}))
}

// leftOvers counts what leads packets to lo.
func leftOvers(t *testing.T) (n int) {
	t.Helper()
	for _, family := range families {
		rules, err := netlink.RuleListFiltered(family, &netlink.Rule{Table: probeTable}, netlink.RT_FILTER_TABLE)
		if err != nil {
			t.Fatal(err)
		}
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: probeTable}, netlink.RT_FILTER_TABLE)
		if err != nil {
			t.Fatal(err)
		}
		n += len(rules) + len(routes)
	}
	return n
}

// Before Linux 6.6 there are no links for programs at egress.
func TestProbesWorkByAFilterWhereThereAreNoLinks(t *testing.T) {
	p := newProber(t, testenv.NewSwitched)
	p.must(p.LB.Do(p.probes.Close))
	old := &Probes{}
	p.must(p.LB.Do(func() error {
		number, err := old.takeNumber()
		p.must(err)
		old.mark, old.number = markOf(number), number
		p.must(old.load(p.dataplane))
		p.must(old.attachFilter(old.coll.Programs["probe"]))
		for _, family := range families {
			p.must(old.route(family))
		}
		return nil
	}))
	p.probes = old
	for _, vip := range p.VIPs {
		p.reaches(t, vip, way{forward: maps.L2}, 0)
	}
	p.must(p.LB.Do(func() error {
		if n := filtersOnLo(t); n != 1 {
			t.Errorf("%d filters on lo, want one", n)
		}
		p.must(old.Close())
		p.must(RemoveProbes()) // of what is not there
		if n := leftOvers(t) + filtersOnLo(t); n != 0 {
			t.Errorf("%d rules, routes and filters after close, want none", n)
		}
		return nil
	}))
}

func filtersOnLo(t *testing.T) int {
	t.Helper()
	lo, err := netlink.LinkByIndex(loopback)
	if err != nil {
		t.Fatal(err)
	}
	filters, err := netlink.FilterList(lo, netlink.HANDLE_MIN_EGRESS)
	if err != nil {
		t.Fatal(err)
	}
	return len(filters)
}

func TestProbesFollowBackendsIntoAnotherTable(t *testing.T) {
	p := newProber(t, testenv.NewSwitched)
	p.reaches(t, testenv.DefaultVIP, way{forward: maps.L2}, 0)
	p.must(p.LB.Do(func() error {
		opts := options(p.LBInterfaces...)
		opts.Features = maps.AllFeatures()
		opts.Settings.Limits.Backends *= 2
		staged, err := p.dataplane.Prepare(opts)
		p.must(err)
		return staged.Publish()
	}))
	before, err := p.probes.Counters()
	p.must(err)
	p.reaches(t, testenv.DefaultVIP, way{forward: maps.L2}, 1)
	after, err := p.probes.Counters()
	p.must(err)
	if before.Sent.Packets == 0 || after.Sent.Packets <= before.Sent.Packets {
		t.Errorf("%d probes counted, %d before", after.Sent.Packets, before.Sent.Packets)
	}
}
