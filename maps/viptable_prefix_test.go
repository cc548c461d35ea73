package maps

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// Prefixes end in zeros, which a multiplicative hash carries into its low bits,
// and a table may be as full as its limit says.
func TestPrefixesFillTheTableToItsLimit(t *testing.T) {
	for _, bits := range []int{13, 16, 20, 24, 28, 32} {
		for n := 2; n <= 256; n *= 2 {
			for _, random := range []bool{false, true} {
				r := rand.New(rand.NewPCG(uint64(bits), uint64(n)))
				seen := map[netip.Prefix]bool{}
				var listeners []Listener
				for i := 0; len(seen) < n; i++ {
					word := uint32(10<<24) + uint32(i)<<(32-bits)
					if random {
						word = r.Uint32()
					}
					prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(word >> 24), byte(word >> 16), byte(word >> 8), byte(word)}), bits).Masked()
					if !seen[prefix] {
						seen[prefix] = true
						listeners = append(listeners, Listener{VIP: prefix, First: 80, Last: 80, Protocol: TCP})
					}
				}
				if _, err := buildVIPTable(listeners, func(ServiceID) bool { return false }, bounds{vips: 2 * n, ports: 1 << 16, ranges: 1 << 16}); err != nil {
					t.Errorf("%d prefixes of %d bits, random %t: %v", n, bits, random, err)
				}
			}
		}
	}
}
