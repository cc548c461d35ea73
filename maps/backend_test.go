package maps

import (
	"net/netip"
	"strings"
	"testing"
)

func TestTunnelWithoutAnOuterAddressIsRefused(t *testing.T) {
	_, err := Backend{Forward: IPIP, Dest: netip.MustParseAddr("10.1.0.1")}.hop()
	if err == nil || !strings.Contains(err.Error(), "needs two outer addresses of one family") {
		t.Errorf("error %v", err)
	}
}
