package loader

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/xlb-project/xlb/maps"
	"github.com/xlb-project/xlb/testenv"
)

// The packet palette, as everywhere.
var (
	client = netip.MustParseAddr("198.51.100.7")
	vip    = netip.MustParseAddr("192.0.2.10")

	backendMAC = maps.MAC{0x02, 0, 0, 0, 0, 0x03}
	selfMAC    = maps.MAC{0x02, 0, 0, 0, 0, 0x02}
)

var limits = maps.Limits{Services: 4, Backends: 16, Slots: 1024, Listeners: 16, Rules: 16, Fragments: 16, Sources: 16, ServerIDs: 16, Flows: 1024}

// site is a namespace whose eth0 and eth1 are veths with peers elsewhere. Its methods run on a thread in it.
type site struct {
	*testing.T
	here, there *testenv.Namespace
	inst        Instance
}

var instances atomic.Int32

// testInstance is an instance that no other test has.
func testInstance() Instance {
	return Instance{Root: fmt.Sprintf("%s-test-%d", DefaultRoot, os.Getpid()), Name: fmt.Sprint("test", instances.Add(1)), Version: "1.2.3"}
}

// inSite runs f in a new site.
func inSite(t *testing.T, f func(*site)) { t.Helper(); inSiteOf(t, testenv.DefaultMTU, f) }

func inSiteOf(t *testing.T, mtu int, f func(*site)) {
	t.Helper()
	here, err := testenv.NewNamespace("here")
	if err != nil {
		t.Fatalf("tests of the loader need root: %v", err)
	}
	defer here.Close()
	there, err := testenv.NewNamespace("there")
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	s := &site{T: t, here: here, there: there, inst: testInstance()}
	for _, name := range []string{"eth0", "eth1"} {
		s.must(s.connect(name, mtu))
	}
	s.must(here.Do(func() error {
		defer func() { s.must(Down(s.inst)) }()
		f(s)
		return nil
	}))
}

func (s *site) connect(name string, mtu int) error {
	return testenv.Connect(testenv.End{NS: s.here, Interface: name}, testenv.End{NS: s.there, Interface: name}, testenv.LinkOptions{MTU: mtu})
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%+v", err)
	}
}

// options ask for a program that serves what serve sets up.
func options(interfaces ...string) maps.PlaneOptions {
	return maps.PlaneOptions{
		Interfaces: interfaces,
		Settings:   maps.Settings{Key: maps.Key{1}, Limits: limits},
		Features:   maps.Features{L2: true, Redirect: true, Tracking: true, Filters: true},
	}
}

// open opens the site's instance.
func (s *site) open(opts maps.PlaneOptions) (*Dataplane, Adoption) {
	s.Helper()
	d, a, err := Open(s.inst, opts)
	s.must(err)
	return d, a
}

// run opens the site's instance and publishes a service of it.
func (s *site) run(opts maps.PlaneOptions) *Dataplane {
	s.Helper()
	d, _ := s.open(opts)
	s.serve(d.Tables)
	s.must(d.Publish())
	return d
}

// serve makes vip:80/tcp and vip:53/udp services of backend 1, which is out of eth0.
func (s *site) serve(t *maps.Tables) {
	s.Helper()
	s.must(t.NameService(maps.ServiceEntry{ID: 0, Name: "web"}))
	s.must(t.NameBackend(maps.BackendEntry{ID: 1, Name: "b1", Address: netip.MustParseAddr("10.1.0.1"), Weight: 1, Live: 1}))
	s.must(t.SetBackend(1, maps.Backend{
		Forward: maps.L2, Up: true, Accepts: true, Ifindex: s.index("eth0"), MTU: 1500, SourceMAC: selfMAC, DestMAC: backendMAC,
	}))
	s.must(t.SetService(0, maps.Service{}))
	s.must(t.SetSlotTable(0, maps.Steady([]maps.BackendID{1, 1, 1})))
	s.listen(t)
}

// listen is what has to be set again where VIPs were not carried over.
func (s *site) listen(t *maps.Tables) {
	s.Helper()
	s.must(t.SetListeners([]maps.Listener{
		{VIP: netip.PrefixFrom(vip, 32), First: 80, Last: 80, Protocol: maps.TCP},
		{VIP: netip.PrefixFrom(vip, 32), First: 53, Last: 53, Protocol: maps.UDP},
	}))
}

func (s *site) index(name string) int {
	s.Helper()
	return s.link(name).Attrs().Index
}

func (s *site) link(name string) netlink.Link {
	s.Helper()
	l, err := netlink.LinkByName(name)
	s.must(err)
	return l
}

// attachedTo returns the id of the XDP program on an interface, 0 for none.
func attachedTo(t testing.TB, name string) uint32 {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if l.Attrs().Xdp == nil || !l.Attrs().Xdp.Attached {
		return 0
	}
	return l.Attrs().Xdp.ProgId
}

// pins lists what an instance has pinned, as paths in its directory.
func (s *site) pins() []string {
	s.Helper()
	var all []string
	err := filepath.Walk(s.inst.dir(), func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			all = append(all, strings.TrimPrefix(path, s.inst.dir()+"/"))
		}
		return err
	})
	if !errors.Is(err, os.ErrNotExist) {
		s.must(err)
	}
	return all
}

// datagram is a frame of a client to vip:53/udp, with a number in its source port.
func datagram(number int) []byte {
	frame := make([]byte, 14+20+8+18)
	copy(frame[0:], selfMAC[:])
	binary.BigEndian.PutUint16(frame[12:], 0x0800)
	ip, udp := frame[14:34], frame[34:42]
	ip[0], ip[8], ip[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(ip[2:], 46)
	copy(ip[12:], client.AsSlice())
	copy(ip[16:], vip.AsSlice())
	binary.BigEndian.PutUint16(udp[0:], uint16(number))
	binary.BigEndian.PutUint16(udp[2:], 53)
	binary.BigEndian.PutUint16(udp[4:], 26)
	return frame
}

// exchange sends datagrams from the other end of eth0 and awaits each as the program sends it on to the backend.
func (s *site) exchange(numbers ...int) {
	s.Helper()
	pass, err := testenv.AttachPass(s.there, "eth0")
	s.must(err)
	defer pass.Close()
	tap, err := testenv.OpenTap(s.there, "eth0")
	s.must(err)
	defer tap.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, n := range numbers {
		s.must(testenv.Inject(s.there, "eth0", datagram(n)))
		_, err := tap.Find(ctx, fmt.Sprintf("datagram %d on its way to the backend", n), func(f testenv.Frame) bool { return returned(f, n) })
		s.must(err)
	}
}

// pass runs a datagram through the program that is attached, without an interface.
func (s *site) pass(d *Dataplane, number int) {
	s.Helper()
	_, err := d.Program().Run(&ebpf.RunOptions{Data: datagram(number)})
	s.must(err)
}

// returned tells whether a frame is a datagram that the program has sent on.
func returned(f testenv.Frame, number int) bool {
	return !f.Outgoing && len(f.Data) >= 42 && maps.MAC(f.Data[:6]) == backendMAC && binary.BigEndian.Uint16(f.Data[34:]) == uint16(number)
}
