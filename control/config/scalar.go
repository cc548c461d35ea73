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
// which reports whether it can be used. The schema says as much of that as it can.
func (d *decoder) scalar(w want, s Schema, parse func(n *yaml.Node) bool) read {
	return func(n *yaml.Node, path string) {
		if d.schema != nil {
			d.describe(s)
			return
		}
		if n, ok := d.open(n, path, w); ok && (n.Kind != yaml.ScalarNode || !parse(n)) {
			d.fail(n, path, w)
		}
	}
}

// text reads any text but an empty one.
func text[T ~string](d *decoder, to *T, w want) read {
	return d.scalar(w, Schema{Type: "string", MinLength: 1}, func(n *yaml.Node) bool {
		*to = T(n.Value)
		return n.Value != ""
	})
}

// anyText reads any text.
func (d *decoder) anyText(to *string, w want) read {
	return d.scalar(w, Schema{Type: "string"}, func(n *yaml.Node) bool {
		*to = n.Value
		return true
	})
}

// known reads one of a few words; whether it is one of them, validate says.
func known[T ~string](d *decoder, to *T, w wantWord) read {
	return d.scalar(w.want, Schema{Type: "string", Enum: w.words}, func(n *yaml.Node) bool {
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
func (d *decoder) number(to *int, w wantNumber) read {
	return d.scalar(w.want, numbers(w.least, w.most), func(n *yaml.Node) bool {
		var ok bool
		*to, ok = integer(n)
		return ok
	})
}

// bounded reads a whole number within bounds.
func (d *decoder) bounded(to *int, w wantNumber) read {
	return d.scalar(w.want, numbers(w.least, w.most), func(n *yaml.Node) bool {
		v, ok := integer(n)
		if ok = ok && v >= w.least && v <= w.most; ok {
			*to = v
		}
		return ok
	})
}

// boolean reads true or false.
func (d *decoder) boolean(to *bool) read {
	return d.scalar(wantBool, Schema{Type: "boolean"}, func(n *yaml.Node) bool {
		*to = n.Value == "true"
		return (*to || n.Value == "false") && !quoted(n)
	})
}

// either reads one of two words, of which the second one stands for true.
func (d *decoder) either(to *bool, w wantWord) read {
	return d.scalar(w.want, Schema{Type: "string", Enum: w.words}, func(n *yaml.Node) bool {
		*to = n.Value == w.words[1]
		return *to || n.Value == w.words[0]
	})
}

// port reads a number that fits a port; whether it is a usable one, validate says.
func (d *decoder) port(to *uint16) read {
	return d.scalar(wantPort, numbers(1, math.MaxUint16), func(n *yaml.Node) bool {
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
	number, texts := numbers(1, math.MaxUint16), matching(`^(any|[1-9][0-9]{0,4}-[1-9][0-9]{0,4})$`)
	return d.scalar(wantPorts, Schema{AnyOf: []*Schema{&number, &texts}}, func(n *yaml.Node) bool {
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
	return d.scalar(wantAddress, matching(`^[0-9a-fA-F:.]+$`), func(n *yaml.Node) bool {
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
	return d.scalar(w, matching(`^[0-9a-fA-F:.]+(/[0-9]{1,3})?$`), func(n *yaml.Node) (ok bool) {
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
	return d.scalar(wantMAC, matching(`^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$`), func(n *yaml.Node) bool {
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
	return d.scalar(wantServerID, matching(`^([0-9a-fA-F]{2}){1,8}$`), func(n *yaml.Node) bool {
		id, err := hex.DecodeString(n.Value)
		if err != nil || len(id) == 0 || len(id) > MaxServerID {
			return false
		}
		*to = id
		return true
	})
}

// bytes reads bytes in hexadecimal.
func (d *decoder) bytes(to *[]byte) read {
	return d.scalar(wantHex, matching(`^([0-9a-fA-F]{2})+$`), func(n *yaml.Node) bool {
		b, err := hex.DecodeString(n.Value)
		*to = b
		return err == nil && len(b) > 0
	})
}

// duration reads a number with its unit.
func (d *decoder) duration(to *time.Duration) read {
	return d.scalar(wantDuration, matching(`^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)`), func(n *yaml.Node) bool {
		v, err := time.ParseDuration(n.Value)
		*to = v
		return err == nil && n.Value != "0"
	})
}

// deadDaemon reads what the data path does while no daemon runs.
func (d *decoder) deadDaemon(to *DeadDaemon) read {
	return d.scalar(wantDead, matching(`^(keep|(pass|drop)-after +[0-9.]+[a-zµμ0-9.]*)$`), func(n *yaml.Node) bool {
		action, after, _ := strings.Cut(n.Value, " ")
		*to = DeadDaemon{Action: DeadAction(action)}
		switch to.Action {
		case Keep:
			return after == ""
		case PassAfter, DropAfter:
			v, err := time.ParseDuration(strings.TrimLeft(after, " "))
			to.After = v
			return err == nil
		}
		return false
	})
}

// key reads the 16 bytes of the flow hash key.
func (d *decoder) key(to *[16]byte) read {
	return d.scalar(wantKey, matching(`^[0-9a-fA-F]{32}$`), func(n *yaml.Node) bool {
		if len(n.Value) != hex.EncodedLen(len(to)) {
			return false
		}
		_, err := hex.Decode(to[:], []byte(n.Value))
		return err == nil
	})
}

// listen reads an address with a port, or what stands for none.
func (d *decoder) listen(to *netip.AddrPort) read {
	return d.scalar(wantListen, matching(`^(off)?$|^.+:[0-9]+$`), func(n *yaml.Node) bool {
		if n.Value == "" || n.Value == "off" {
			*to = netip.AddrPort{}
			return true
		}
		var err error
		*to, err = netip.ParseAddrPort(n.Value)
		return err == nil
	})
}

// server reads an address with a port, which may be left out.
func (d *decoder) server(to *netip.AddrPort, port uint16) read {
	return d.scalar(wantServer, matching(`^[0-9a-fA-F:.]+$|^.+:[0-9]+$`), func(n *yaml.Node) bool {
		if a, err := netip.ParseAddr(n.Value); err == nil {
			*to = netip.AddrPortFrom(a, port)
			return a.Zone() == ""
		}
		a, err := netip.ParseAddrPort(n.Value)
		*to = a
		return err == nil && a.Addr().Zone() == "" && a.Port() != 0
	})
}
