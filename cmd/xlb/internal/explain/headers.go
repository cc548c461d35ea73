package explain

import (
	"fmt"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/control/config"
)

// gueHeader is what lies between UDP and the packet that it carries.
const gueHeader = 4

// headers describes a frame's headers, one in a line. How it was forwarded tells
// what UDP carries.
func headers(frame []byte, forward config.Forward) []string {
	return describe(frame, layers.LayerTypeEthernet, forward == config.GUE)
}

func describe(data []byte, first gopacket.Decoder, gue bool) (lines []string) {
	for _, layer := range gopacket.NewPacket(data, first, gopacket.NoCopy).Layers() {
		switch l := layer.(type) {
		case *layers.Ethernet:
			lines = append(lines, fmt.Sprintf("Ethernet  %s -> %s", l.SrcMAC, l.DstMAC))
		case *layers.Dot1Q:
			lines = append(lines, fmt.Sprintf("VLAN      %d", l.VLANIdentifier))
		case *layers.IPv4:
			lines = append(lines, fmt.Sprintf("IPv4      %s -> %s  %s, TTL %d, TOS %#02x, %d bytes%s", l.SrcIP, l.DstIP, l.Protocol, l.TTL, l.TOS, l.Length, flags4(l)))
		case *layers.IPv6:
			lines = append(lines, fmt.Sprintf("IPv6      %s -> %s  %s, hop limit %d, class %#02x, flow label %#05x, %d bytes",
				l.SrcIP, l.DstIP, l.NextHeader, l.HopLimit, l.TrafficClass, l.FlowLabel, 40+int(l.Length)))
		case *layers.TCP:
			lines = append(lines, fmt.Sprintf("TCP       %d -> %d  %s", l.SrcPort, l.DstPort, flagsTCP(l)))
		case *layers.UDP:
			lines = append(lines, fmt.Sprintf("UDP       %d -> %d  %d bytes, checksum %#04x", l.SrcPort, l.DstPort, l.Length, l.Checksum))
			if gue && len(l.Payload) > gueHeader {
				return append(lines, describeGUE(l.Payload)...)
			}
		case *layers.GRE:
			lines = append(lines, fmt.Sprintf("GRE       %s", l.Protocol))
		case *layers.ICMPv4:
			lines = append(lines, fmt.Sprintf("ICMP      %s%s", l.TypeCode, pathMTU4(l)))
		case *layers.ICMPv6:
			lines = append(lines, fmt.Sprintf("ICMPv6    %s", l.TypeCode))
		case *gopacket.DecodeFailure:
			lines = append(lines, fmt.Sprintf("unreadable: %d bytes", len(l.LayerContents())))
		default:
			lines = append(lines, fmt.Sprintf("%-8s  %d bytes", l.LayerType(), len(l.LayerContents())))
		}
	}
	return lines
}

func describeGUE(data []byte) []string {
	inner := layers.LayerTypeIPv4
	if data[gueHeader]>>4 == 6 {
		inner = layers.LayerTypeIPv6
	}
	return append([]string{fmt.Sprintf("GUE       version %d, protocol %d", data[0]>>6, data[1])}, describe(data[gueHeader:], inner, false)...)
}

func flags4(ip *layers.IPv4) string {
	text := ""
	if ip.Flags&layers.IPv4DontFragment != 0 {
		text += ", DF"
	}
	if ip.Flags&layers.IPv4MoreFragments != 0 || ip.FragOffset != 0 {
		text += fmt.Sprintf(", fragment %d at %d", ip.Id, int(ip.FragOffset)*8)
	}
	return text
}

func flagsTCP(tcp *layers.TCP) string {
	var set []string
	for _, flag := range []struct {
		name string
		set  bool
	}{{"SYN", tcp.SYN}, {"ACK", tcp.ACK}, {"FIN", tcp.FIN}, {"RST", tcp.RST}, {"PSH", tcp.PSH}, {"URG", tcp.URG}, {"ECE", tcp.ECE}, {"CWR", tcp.CWR}} {
		if flag.set {
			set = append(set, flag.name)
		}
	}
	for _, option := range tcp.Options {
		if option.OptionType == layers.TCPOptionKindMSS && len(option.OptionData) == 2 {
			set = append(set, fmt.Sprintf("MSS %d", int(option.OptionData[0])<<8|int(option.OptionData[1])))
		}
	}
	return strings.Join(set, " ")
}

// pathMTU4 is what a "fragmentation needed" tells (RFC 1191).
func pathMTU4(icmp *layers.ICMPv4) string {
	if icmp.TypeCode == layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeFragmentationNeeded) {
		return fmt.Sprintf(", MTU %d", icmp.Seq)
	}
	return ""
}
