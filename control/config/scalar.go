package config

import (
	"encoding/hex"
	"math"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// scalar hands the text of a value that is neither list nor mapping to parse,
// which reports whether it can be used.
func (d *decoder) scalar(w want, parse func(n *yaml.Node) bool) read {
	return func(n *yaml.Node, path string) {
		if n, ok := d.open(n, path, w); ok && (n.Kind != yaml.ScalarNode || !parse(n)) {
			d.fail(n, path, w)
		}
	}
}

// text reads any text but an empty one.
func text[T ~string](d *decoder, to *T, w want) read {
	return d.scalar(w, func(n *yaml.Node) bool {
		*to = T(n.Value)
		return n.Value != ""
	})
}

// decimal is the one way to write a number: 0x50, 010 and 1_000 mean different
// numbers to different readers.
var decimal = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})$`)

// integer returns the whole number that n writes in plain decimal digits.
func integer(n *yaml.Node) (int, bool) {
	if quoted(n) || !decimal.MatchString(n.Value) {
		return 0, false
	}
	v, err := strconv.Atoi(n.Value)
	return v, err == nil
}

// quoted reports whether n is text even if it looks like a number or a truth value.
func quoted(n *yaml.Node) bool {
	return n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
}

// number reads a whole number; which are permitted, validate says.
func (d *decoder) number(to *int, w want) read {
	return d.scalar(w, func(n *yaml.Node) bool {
		var ok bool
		*to, ok = integer(n)
		return ok
	})
}

// bounded reads a whole number between least and most.
func (d *decoder) bounded(to *int, least, most int, w want) read {
	return d.scalar(w, func(n *yaml.Node) bool {
		v, ok := integer(n)
		if ok = ok && v >= least && v <= most; ok {
			*to = v
		}
		return ok
	})
}

// boolean reads true or false.
func (d *decoder) boolean(to *bool) read {
	return d.scalar(wantBool, func(n *yaml.Node) bool {
		*to = n.Value == "true"
		return (*to || n.Value == "false") && !quoted(n)
	})
}

// either reads one of two words.
func (d *decoder) either(to *bool, no, yes string, w want) read {
	return d.scalar(w, func(n *yaml.Node) bool {
		*to = n.Value == yes
		return *to || n.Value == no
	})
}

// port reads a number that fits a port; whether it is a usable one, validate says.
func (d *decoder) port(to *uint16) read {
	return d.scalar(wantPort, func(n *yaml.Node) bool {
		v, ok := integer(n)
		*to = uint16(v)
		return ok && v >= 0 && v <= math.MaxUint16
	})
}

// ports reads a port, a range, the word any, or a list; which are permitted,
// validate says.
func (d *decoder) ports(to *[]PortRange) read {
	return func(n *yaml.Node, path string) {
		d.oneOrMore(n, path, wantPorts, func(n *yaml.Node, path string) {
			var r PortRange
			d.portRange(&r)(n, path)
			*to = append(*to, r)
		})
	}
}

// portNumbers is a range as it is written. Port 0 alone has an error of its own.
var portNumbers = regexp.MustCompile(`^([1-9][0-9]{0,4})-([1-9][0-9]{0,4})$`)

func (d *decoder) portRange(to *PortRange) read {
	return d.scalar(wantPorts, func(n *yaml.Node) bool {
		if n.Value == "any" {
			*to = AnyPort
			return true
		}
		first, ok := integer(n)
		last := first
		if m := portNumbers.FindStringSubmatch(n.Value); m != nil {
			first, _ = strconv.Atoi(m[1])
			last, _ = strconv.Atoi(m[2])
			ok = true
		}
		if ok = ok && first >= 0 && max(first, last) <= math.MaxUint16; ok {
			*to = PortRange{uint16(first), uint16(last)}
		}
		return ok
	})
}

// address reads an IP address of any family; which are permitted, validate says.
func (d *decoder) address(to *netip.Addr) read {
	return d.scalar(wantAddress, func(n *yaml.Node) bool {
		a, err := netip.ParseAddr(n.Value)
		if err != nil || a.Zone() != "" {
			return false
		}
		*to = a
		return true
	})
}

// prefix reads a prefix, or an address as one of full length; which are
// permitted, validate says.
func (d *decoder) prefix(to *netip.Prefix, w want) read {
	return d.scalar(w, func(n *yaml.Node) (ok bool) {
		*to, ok = parsePrefix(n.Value)
		return ok
	})
}

func parsePrefix(s string) (netip.Prefix, bool) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		return p, err == nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

// mac reads an Ethernet address.
func (d *decoder) mac(to *MAC) read {
	return d.scalar(wantMAC, func(n *yaml.Node) bool {
		m, err := net.ParseMAC(n.Value)
		if err != nil || len(m) != len(to) || !strings.Contains(n.Value, ":") {
			return false
		}
		*to = MAC(m)
		return true
	})
}

// serverID reads the bytes that name a backend in QUIC connection IDs.
func (d *decoder) serverID(to *[]byte) read {
	return d.scalar(wantServerID, func(n *yaml.Node) bool {
		id, err := hex.DecodeString(n.Value)
		if err != nil || len(id) == 0 || len(id) > MaxServerID {
			return false
		}
		*to = id
		return true
	})
}

// duration reads a number with its unit.
func (d *decoder) duration(to *time.Duration) read {
	return d.scalar(wantDuration, func(n *yaml.Node) bool {
		v, err := time.ParseDuration(n.Value)
		if err != nil {
			return false
		}
		*to = v
		return true
	})
}

// key reads the 16 bytes of the flow hash key.
func (d *decoder) key(to *[16]byte) read {
	return d.scalar(wantKey, func(n *yaml.Node) bool {
		if len(n.Value) != hex.EncodedLen(len(to)) {
			return false
		}
		_, err := hex.Decode(to[:], []byte(n.Value))
		return err == nil
	})
}

// listen reads an address with a port, or what stands for none.
func (d *decoder) listen(to *netip.AddrPort) read {
	return d.scalar(wantListen, func(n *yaml.Node) bool {
		if n.Value == "" || n.Value == "off" {
			*to = netip.AddrPort{}
			return true
		}
		var err error
		*to, err = netip.ParseAddrPort(n.Value)
		return err == nil
	})
}
