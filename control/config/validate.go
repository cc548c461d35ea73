package config

import (
	"fmt"
	"math/big"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"
)

const (
	maxName       = 63  // bytes of the name of a service or backend
	maxInterface  = 15  // bytes; the kernel's IFNAMSIZ less its NUL
	maxSocket     = 107 // bytes; sun_path of unix(7) less its NUL
	maxHostHeader = 255 // bytes
)

var namePattern = regexp.MustCompile(`^[a-z0-9][-a-z0-9_.]*$`)

// Validate checks every value and how they fit together. It returns Errors, or
// nil. Load and Parse have done so already: it is for a Config that was changed
// or made otherwise, so its errors name fields but no lines.
func (c *Config) Validate() error {
	p := newProblems(c.File)
	validate(c, p, nil)
	return p.err()
}

// validator checks the values of a configuration that could be read.
type validator struct {
	*problems
	doc *yaml.Node // where the values are written, or nil
}

func validate(c *Config, p *problems, doc *yaml.Node) {
	v := &validator{p, doc}
	v.interfaces(c.Interfaces)
	v.oneOf("xdp_mode", string(c.XDPMode), wantMode, string(Native), string(Generic))
	v.socket(c.API.Socket)
	if c.Source.IPv4.IsValid() {
		v.unicast("source.ipv4", c.Source.IPv4)
	}
	v.services(c, v.limits(c.Limits))
}

// fail records a problem of the value at path, unless it follows from another.
func (v *validator) fail(path, message, remedy string) {
	if !v.full() && !v.rejected(path) {
		v.add(v.locate(path), path, message, remedy)
	}
}

// locate returns the place where the value at path is written, or else the one
// that should hold it.
func (v *validator) locate(path string) Position {
	n := v.doc
	if n == nil {
		return Position{}
	}
	for steps := strings.NewReplacer("[", ".", "]", "").Replace(path); steps != ""; {
		var step string
		step, steps, _ = strings.Cut(steps, ".")
		next := lookup(n, step)
		if i, err := strconv.Atoi(step); err == nil && i < len(n.Content) {
			next = n.Content[i]
		}
		if next == nil {
			break
		}
		if n = next; n.Kind == yaml.AliasNode {
			n = n.Alias
		}
	}
	return position(n)
}

func (v *validator) between(path string, value, least, most int, what string) (ok bool) {
	ok = value >= least && value <= most
	if !ok {
		v.fail(path, fmt.Sprintf("%d is not %s", value, what), fmt.Sprintf("write %d to %d", least, most))
	}
	return ok
}

func (v *validator) oneOf(path, value string, w want, known ...string) {
	for _, k := range known {
		if value == k {
			return
		}
	}
	v.fail(path, quote(value)+" is not "+w.what, w.remedy)
}

func (v *validator) interfaces(list []Interface) {
	if len(list) == 0 {
		v.fail("interfaces", "no interface is named", wantInterfaces.remedy)
	}
	first := make(map[string]int)
	for i, in := range list {
		if v.full() {
			return
		}
		path := fmt.Sprintf("interfaces[%d]", i)
		before, twice := first[in.Name]
		switch {
		case in.Name == "", in.Name == ".", in.Name == "..",
			len(in.Name) > maxInterface, strings.ContainsFunc(in.Name, notInInterface):
			v.fail(path, quote(in.Name)+" is not "+wantInterface.what,
				"write up to 15 characters without space, slash or colon, such as eth0")
		case twice:
			v.fail(path, fmt.Sprintf("%s is already interfaces[%d]", in.Name, before), "remove one of them")
		default:
			first[in.Name] = i
		}
	}
}

// limits returns the limits to hold services against: where one is wrong itself,
// the highest there is.
func (v *validator) limits(l Limits) Limits {
	if !v.between("limits.services", l.Services, 1, MaxServices, "a number of services") {
		l.Services = MaxServices
	}
	if !v.between("limits.backends", l.Backends, 1, MaxBackends, "a number of backends") {
		l.Backends = MaxBackends
	}
	if !v.between("limits.slots", l.Slots, 1, MaxSlots, "a number of slots") {
		l.Slots = MaxSlots
	}
	return l
}

// notInInterface tells the characters that the kernel refuses in the name of an interface.
func notInInterface(r rune) bool {
	return r == '/' || r == ':' || unicode.IsSpace(r) || unicode.IsControl(r)
}

func (v *validator) socket(path string) {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" || len(path) > maxSocket || strings.ContainsRune(path, 0) {
		v.fail("api.socket", quote(path)+" is not "+wantSocket.what,
			"write a plain absolute path of up to 107 bytes such as "+DefaultAPISocket)
	}
}

// unicast checks an address that packets are sent to or from.
func (v *validator) unicast(path string, a netip.Addr) {
	switch remedy := "write the unicast address of a machine, such as 10.1.0.1"; {
	case !a.IsValid():
		v.fail(path, "the address is missing", wantAddress.remedy)
	case !a.Is4(): // the one place that keeps IPv6 out
		v.fail(path, fmt.Sprintf("%s is an IPv6 address, which is not supported yet", a), "write an IPv4 address")
	case a.IsUnspecified():
		v.fail(path, fmt.Sprintf("%s is the unspecified address", a), remedy)
	case a.IsLoopback():
		v.fail(path, fmt.Sprintf("%s is a loopback address", a), remedy)
	case a.IsMulticast():
		v.fail(path, fmt.Sprintf("%s is a multicast address", a), remedy)
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		v.fail(path, fmt.Sprintf("%s is the broadcast address", a), remedy)
	}
}

func (v *validator) name(path, name string) {
	if len(name) > maxName || !namePattern.MatchString(name) {
		v.fail(path, quote(name)+" is not "+wantName.what,
			"write up to 63 of a-z, 0-9, '-', '_' and '.', beginning with a letter or digit")
	}
}

// prime checks a table size and proposes the nearest one above, or below if the
// limit forbids that. big.Int decides exactly below 2^64.
func (v *validator) prime(path string, slots, limit int) {
	isPrime := func(n int) bool { return big.NewInt(int64(n)).ProbablyPrime(0) }
	if isPrime(slots) {
		return
	}
	near := max(slots, 2)
	for !isPrime(near) {
		near++
	}
	for near > 2 && (near > limit || !isPrime(near)) {
		near--
	}
	v.fail(path, fmt.Sprintf("%d is not a prime number", slots), fmt.Sprintf("write %d", near))
}
