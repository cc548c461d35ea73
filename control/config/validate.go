package config

import (
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v4"
)

const (
	maxName       = 63  // bytes of the name of a service or backend
	maxInterface  = 15  // bytes; the kernel's IFNAMSIZ less its NUL
	maxHostHeader = 255 // bytes
)

var namePattern = regexp.MustCompile(`^[a-z0-9][-a-z0-9_.]*$`)

// Validate checks every value and how they fit together. It returns Errors, or
// nil. Load and Parse have done so already: it is for a Config that was changed
// or made otherwise, so its errors name fields but no lines.
func (c *Config) Validate() error {
	p := newProblems(c.File)
	validate(c, p)
	return p.err()
}

// validator checks the values of a configuration that could be read.
type validator struct {
	*problems
	told      map[place]bool // entries of files, which several lists may hold
	allowExec bool
}

func newValidator(c *Config, p *problems) *validator {
	return &validator{p, make(map[place]bool), c.Health.AllowExec}
}

func validate(c *Config, p *problems) {
	v := newValidator(c, p)
	v.interfaces(c.Interfaces)
	v.instance(c)
	v.oneOf("xdp_mode", string(c.XDPMode), wantMode)
	v.api(c.API)
	v.deadDaemon(c.DeadDaemon)
	v.flows(c.Flows)
	v.source(c.Source)
	v.port("gue.port", c.GUE.Port, "no tunnel can end there")
	v.oneOf("icmp.echo", string(c.ICMP.Echo), wantEcho)
	v.between("icmp.too_big_rate", c.ICMP.TooBigRate, wantTooBig)
	v.sources("deny", c.Deny)
	v.mac("gateway_mac", c.GatewayMAC)
	v.services(c, v.limits(c.Limits))
}

// fail records a problem of the value at path, unless it follows from another.
func (v *validator) fail(path, message, remedy string) {
	at := v.entry(path)
	if at.File != "" {
		if v.told[at] {
			return
		}
		v.told[at] = true
	} else if at.Line == 0 {
		at.Position = v.locate(at.path)
	}
	if !v.full() && !v.rejected(at.path) {
		v.addAt(at, message, remedy)
	}
}

// entry returns the place of the entry at path of a list that was put together,
// of other values the path alone.
func (v *validator) entry(path string) place {
	path = strings.TrimPrefix(path, ".")
	list, step := splitPath(path)
	if places := v.entries[list]; places != nil {
		if i, err := strconv.Atoi(strings.Trim(step, "[]")); err == nil && i < len(places) {
			return places[i]
		}
	}
	return place{path: path}
}

// locate returns the place where the value at path is written, or else the one
// that should hold it.
func (v *validator) locate(path string) Position {
	home := v.home(path)
	n := home.doc
	if n == nil {
		return Position{}
	}
	for steps := strings.TrimPrefix(strings.NewReplacer("[", ".", "]", "").Replace(v.shown(path)), "."); steps != ""; {
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
	return Position{n.Line, n.Column, home.file}
}

func (v *validator) between(path string, value int, w wantNumber) (ok bool) {
	ok = value >= w.least && value <= w.most
	if !ok {
		v.fail(path, fmt.Sprintf("%d is not %s", value, w.what), fmt.Sprintf("write %d to %d", w.least, w.most))
	}
	return ok
}

// lasting checks a duration.
func (v *validator) lasting(path string, value, least, most time.Duration) {
	switch {
	case value < least:
		v.fail(path, spanText(value)+" is too short", "write at least "+spanText(least))
	case value > most:
		v.fail(path, spanText(value)+" is too long", "write at most "+spanText(most))
	}
}

func (v *validator) oneOf(path, value string, w wantWord) (ok bool) {
	if ok = slices.Contains(w.words, value); !ok {
		v.fail(path, quote(value)+" is not "+w.what, w.remedy)
	}
	return ok
}

// port checks a port that a field names; why says what is wrong with port 0.
func (v *validator) port(path string, port uint16, why string) {
	if port == 0 {
		v.fail(path, "port 0 is reserved and "+why, "write 1 to 65535")
	}
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
	for _, one := range limitsOf(&l) {
		if !v.between("limits."+one.name, *one.value, wantNumber{want{what: "a number of " + one.what}, 1, one.most}) {
			*one.value = one.most
		}
	}
	return l
}

// notInInterface tells the characters that the kernel refuses in the name of an interface.
func notInInterface(r rune) bool {
	return r == '/' || r == ':' || unicode.IsSpace(r) || unicode.IsControl(r)
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
