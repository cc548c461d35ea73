package maps

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func addr4(t *rapid.T, label string) netip.Addr {
	return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, label)))
}

func TestBackendSurvivesTheRoundTripThroughItsRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := Backend{
			Forward:   rapid.SampledFrom([]Forward{L2, IPIP}).Draw(t, "forward"),
			Ifindex:   rapid.IntRange(1, 1<<31-1).Draw(t, "ifindex"),
			Egress:    rapid.Uint32().Draw(t, "egress"),
			MTU:       rapid.IntRange(68, 65535).Draw(t, "mtu"),
			SourceMAC: MAC(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "source")),
			DestMAC:   MAC(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "dest")),
		}
		if b.Forward == IPIP {
			b.Source, b.Dest = addr4(t, "outer source"), addr4(t, "outer dest")
		}
		row, err := b.row()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, backendFromRow(&row), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func TestTunnelWithoutAnOuterAddressIsRefused(t *testing.T) {
	_, err := Backend{Forward: IPIP, Dest: netip.MustParseAddr("10.1.0.1")}.row()
	if err == nil || !strings.Contains(err.Error(), "needs IPv4 addresses") {
		t.Errorf("error %v", err)
	}
}
