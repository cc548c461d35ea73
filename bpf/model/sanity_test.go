package model

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/maps"
)

func tagged(frame []byte, tags ...byte) []byte {
	out := append([]byte(nil), frame[:12]...)
	return append(append(out, tags...), frame[12:]...)
}

func TestLinkAndIPHeadersDecideWhatIsLookedAt(t *testing.T) {
	good := tcp4(t)
	inner, outer := []byte{0x81, 0, 0, 5}, []byte{0x88, 0xa8, 0xe0, 6}
	tests := map[string]struct {
		frame []byte
		want  string
	}{
		"IPv4":                          {good, "tx forwarded"},
		"IPv6":                          {tcp6(t), "tx forwarded"},
		"one tag":                       {tagged(good, inner...), "tx forwarded"},
		"two tags":                      {tagged(good, append(outer, inner...)...), "tx forwarded"},
		"three tags":                    {tagged(good, bytes.Repeat(inner, 3)...), "pass not_ip"},
		"a tag cut short":               {tagged(good, inner...)[:16], "pass not_ip"},
		"a second tag cut short":        {tagged(good, append(outer, inner...)...)[:21], "pass not_ip"},
		"shorter than Ethernet":         {good[:13], "pass not_ip"},
		"ARP":                           {build(t, ethernet(layers.EthernetTypeARP), gopacket.Payload(make([]byte, 28))), "pass not_ip"},
		"IPv4 cut in its header":        {good[:33], "pass malformed"},
		"IPv4 of another version":       {edited(good, 0, 0x55), "pass malformed"},
		"IPv6 cut in its header":        {tcp6(t)[:53], "pass malformed"},
		"IPv6's type, IPv4's version":   {edited(tcp6(t), 0, 0x45), "pass malformed"},
		"another destination":           {edited(good, 16, 192, 0, 2, 11), "pass not_ours"},
		"another destination, bad sum":  {append(good[:33:33], good[33]+1), "pass not_ours"},
		"header length 4 words":         {edited(good, 0, 0x44), "drop bad_length"},
		"total length below the header": {edited(good, 2, 0, 19), "drop bad_length"},
		"total length above the frame":  {edited(good, 2, 0, 47), "drop bad_length"},
		"payload length above frame":    {edited(tcp6(t), 4, 0, 26), "drop bad_length"},
		"padding":                       {append(tcp4(t), 1, 2, 3), "tx forwarded"},
		"header checksum wrong":         {append(append(good[:24:24], good[24]^1), good[25:]...), "drop bad_checksum"},
		"land":                          {edited(good, 12, 192, 0, 2, 10), "drop land"},
		"land, IPv6":                    {edited(tcp6(t), 8, vip6.AsSlice()...), "drop land"},
		"from this network":             {edited(good, 12, 0, 1, 2, 3), "drop martian"},
		"from loopback":                 {edited(good, 12, 127, 0, 0, 1), "drop martian"},
		"from a group":                  {edited(good, 12, 224, 0, 0, 1), "drop martian"},
		"from broadcast":                {edited(good, 12, 255, 255, 255, 255), "drop martian"},
		"from the last unicast network": {edited(good, 12, 223, 255, 255, 255), "tx forwarded"},
		"from the unspecified address":  {edited(tcp6(t), 8, make([]byte, 16)...), "drop martian"},
		"from loopback, IPv6":           {edited(tcp6(t), 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), "drop martian"},
		"from a mapped address":         {edited(tcp6(t), 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1), "drop martian"},
		"through a translator":          {edited(tcp6(t), 8, 0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1), "tx forwarded"},
		"from the network after ::/64":  {edited(tcp6(t), 8, 0, 0, 0, 0, 0, 0, 0, 1), "tx forwarded"},
		"from a group, IPv6":            {edited(tcp6(t), 8, 0xff, 2), "drop martian"},
		"a denied source":               {edited(good, 12, 203, 0, 113, 5), "drop denied_by_node"},
		"no protocol of ours":           {frame4(t, ipv4(132), gopacket.Payload(make([]byte, 40))), "pass no_service"},
		"the other family's ICMP":       {frame4(t, ipv4(58), gopacket.Payload{128, 0, 0, 0, 0, 0, 0, 0}), "pass no_service"},
		"TCP cut in its header":         {edited(good, 2, 0, 39), "drop bad_length"},
		"TCP data offset 4 words":       {edited(good, 32, 0x40), "drop bad_length"},
		"TCP data offset past the end":  {edited(good, 32, 0x70), "drop bad_length"},
		"UDP length 7":                  {edited(udp4(t), 24, 0, 7), "drop bad_length"},
		"UDP length past the end":       {edited(udp4(t), 24, 0, 14), "drop bad_length"},
		"UDP length within":             {edited(udp4(t), 24, 0, 8), "tx forwarded"},
		"UDP cut in its header":         {edited(udp4(t), 2, 0, 27), "drop bad_length"},
		"TTL 1":                         {edited(good, 8, 1), "drop ttl_expired"},
		"TTL 0":                         {edited(good, 8, 0), "drop ttl_expired"},
		"TTL 2":                         {edited(good, 8, 2), "tx forwarded"},
		"hop limit 1":                   {edited(tcp6(t), 7, 1), "drop ttl_expired"},
		"IPv4 options":                  {withOptions(t), "tx forwarded"},
	}
	m := newModel(t, with(func(s *State) { s.NodeDeny = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/29")} }))
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			before := bytes.Clone(test.frame)
			r := expect(t, m, test.frame, test.want)
			if !bytes.Equal(test.frame, before) {
				t.Error("the packet was modified")
			}
			if r.Verdict == Pass && !bytes.Equal(r.Frame, before) {
				t.Error("the packet was not passed as it came")
			}
		})
	}
}

func withOptions(t *testing.T) []byte {
	ip := ipv4(6)
	ip.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
	return frame4(t, ip, tcp())
}

func TestWrongHeaderChecksumIsForwardedUnlessVerified(t *testing.T) {
	m := newModel(t, with(func(s *State) { s.Settings.VerifyChecksum = false }))
	frame := tcp4(t)
	frame[24]--
	r := expect(t, m, frame, "tx forwarded")
	right := expect(t, newModel(t, state4And6()), tcp4(t), "tx forwarded")
	if r.Frame[24]+1 != right.Frame[24] || r.Frame[25] != right.Frame[25] {
		t.Errorf("checksum %x; beside the right one %x", r.Frame[24:26], right.Frame[24:26])
	}
}

func TestSourceWithinAVIPIsDropped(t *testing.T) {
	m := newModel(t, with(func(s *State) {
		s.Listeners = append(s.Listeners, maps.Listener{
			VIP: netip.MustParsePrefix("198.51.100.0/29"), First: 80, Last: 80, Protocol: maps.TCP, Service: 1,
		})
	}))
	expect(t, m, tcp4(t), "drop source_is_vip")
}

// chain is an IPv6 packet to the VIP with raw headers, each given with its type,
// before UDP.
func chain(t *testing.T, headers ...extension) []byte {
	next := layers.IPProtocol(17)
	if len(headers) > 0 {
		next = layers.IPProtocol(headers[0].kind)
	}
	var raw []byte
	for i, h := range headers {
		after := byte(17)
		if i+1 < len(headers) {
			after = headers[i+1].kind
		}
		raw = append(raw, after)
		raw = append(raw, h.rest...)
	}
	payload := append(raw, 0x10, 0x92, 0x01, 0xbb, 0, 13, 0, 0, 'h', 'e', 'l', 'l', 'o')
	return frame6(t, ipv6(next), gopacket.Payload(payload))
}

type extension struct {
	kind byte
	rest []byte
}

func TestExtensionHeadersAreWalkedOrHandedOn(t *testing.T) {
	hop := extension{0, make([]byte, 7)}
	dest := extension{60, make([]byte, 7)}
	long := extension{60, append([]byte{2}, make([]byte, 22)...)}
	tooLong := extension{60, append([]byte{5}, make([]byte, 6)...)}
	route := extension{43, make([]byte, 7)}
	atomic := extension{44, make([]byte, 7)}
	later := extension{44, []byte{0, 0, 8, 1, 2, 3, 4}}
	unknown := extension{139, make([]byte, 7)}
	tests := map[string]struct {
		headers []extension
		want    string
	}{
		"none":                       {nil, "tx forwarded"},
		"hop-by-hop":                 {[]extension{hop}, "tx forwarded"},
		"a long one":                 {[]extension{long}, "tx forwarded"},
		"past the packet":            {[]extension{tooLong}, "drop bad_length"},
		"six":                        {[]extension{hop, dest, dest, long, dest, dest}, "tx forwarded"},
		"seven":                      {[]extension{hop, dest, dest, long, dest, dest, dest}, "pass extension_headers"},
		"six, then a routing one":    {[]extension{hop, dest, dest, long, dest, dest, route}, "pass extension_headers"},
		"routing":                    {[]extension{dest, route}, "pass extension_headers"},
		"an atomic fragment":         {[]extension{atomic}, "tx forwarded"},
		"two fragment headers":       {[]extension{atomic, dest, atomic}, "pass extension_headers"},
		"a later fragment":           {[]extension{later}, "drop fragment_unknown"},
		"a later one of a header":    {[]extension{later, dest}, "drop fragment"},
		"a protocol that is not UDP": {[]extension{hop, unknown}, "pass no_service"},
	}
	m := newModel(t, state4And6())
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { expect(t, m, chain(t, test.headers...), test.want) })
	}
}

func TestExtensionHeaderThatIsCutIsDropped(t *testing.T) {
	m := newModel(t, state4And6())
	for _, kind := range []layers.IPProtocol{0, 44, 60} {
		for length := range 8 {
			expect(t, m, frame6(t, ipv6(kind), gopacket.Payload(make([]byte, length))), "drop bad_length")
		}
	}
}
