package balance

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"
)

// The vectors of version 2. Nodes of different releases share the traffic of one service, so these never change: another
// algorithm needs another version, which a cluster agrees on before it is used. (Version 1, before the first release, had
// Maglev at all sizes.)
func TestVersion2Vectors(t *testing.T) {
	weighted := pool(100)
	for i := range weighted {
		weighted[i].Weight = uint32(1 + i*i)
	}
	twoWeights := pool(100)
	for i := range twoWeights {
		twoWeights[i].Weight = uint32(100 + 200*(i%2))
	}
	twins := []Backend{{Key: "10.1.0.0", Weight: 1}, {Key: "10.1.0.31", Weight: 1}}
	mixed := allLive(100)
	for i := range mixed {
		mixed[i] = float64(i%5) / 4
	}
	faint := make([]float64, 100)
	for i := range faint {
		faint[i] = float64(i) / 1e4
	}
	for _, c := range []struct {
		name     string
		size     int
		backends []Backend
		live     []float64
		some     []int32 // the owners of slots 0, 1000, 2000, 3000, 4000
		sum      string  // SHA-256 of all owners as little-endian 32-bit integers
	}{
		{
			"one, all live", 4_099, pool(1), allLive(1), []int32{0, 0, 0, 0, 0},
			"d6df803752925b26262b077e3df266c6b17825ca05c6a10bedaa30bdbf72a8e6",
		},
		{
			"two, all live", 4_099, pool(2), allLive(2), []int32{0, 1, 1, 1, 1},
			"8a9d84ec61412eafeef8f4e2e2ed4b0c26d62222391075ee5dfe85b9462a005e",
		},
		{
			"two of one seed, all live", 4_099, twins, allLive(2), []int32{1, 0, 1, 1, 0},
			"41d63fd151c6e11dbcc2aa4ca65dc1fb87751f97530b8545484ab3ef73aec0f5",
		},
		{
			"three, all live", 4_099, pool(3), allLive(3), []int32{0, 1, 2, 1, 2},
			"bf3188043bcba1508dc90463699376400f2e441ac3f06dcf70380db1c739dcfb",
		},
		{
			"three, one down", 4_099, pool(3), downFirst(3, 1), []int32{2, 1, 2, 1, 2},
			"68771b93aa9b8bb107c4c243c286dbf93fb01a9c72ded3000e9c448d8bc59df2",
		},
		{
			"forty, all live", 4_099, pool(40), allLive(40), []int32{17, 33, 26, 35, 30},
			"c361b3c0ba727c23950222802f623672bc46186750b041758973635eb777e295",
		},
		{
			"forty, two weights, all live", 4_099, twoWeights[:40], allLive(40), []int32{17, 33, 26, 35, 30},
			"4691eaf9e9092cce917ac07f9a9e4a7c000f4d1c0d946183b514d56c12158799",
		},
		{
			"hundred, weighted, all live", 4_099, weighted, allLive(100), []int32{47, 73, 86, 95, 91},
			"25af2d395ebe64c168f28b1f9077c94d5adb17a81c175ef9a13ed6dcf61f92dc",
		},
		{
			"hundred, all live", 65_537, pool(100), allLive(100), []int32{54, 76, 7, 2, 83},
			"442b538bd014bc86d631fca19759a8e34d9bcfd61bc999acc3dddf01d867d15c",
		},
		{
			"hundred, ten down", 65_537, pool(100), downFirst(100, 10), []int32{54, 76, 50, 85, 83},
			"7ccf1d80bdfc60a07294fd8445bafe98fa30edadb2d46853bf29bd74a2344687",
		},
		{
			"hundred, 99 down", 65_537, pool(100), downFirst(100, 99), []int32{99, 99, 99, 99, 99},
			"76e52ac878370459a194a25386d6b62da1ba97186eafa50e8c2b12f5ec91f26d",
		},
		{
			"two weights, all live", 10_007, twoWeights, allLive(100), []int32{99, 31, 25, 51, 34},
			"f287a9442b5a3d9f4235b52266df8a57bf741db69fb92006094e29a3c4d3de6e",
		},
		{
			"weighted, all live", 10_007, weighted, allLive(100), []int32{96, 74, 25, 86, 34},
			"78a9d0d8b54c53a7fdd73fb9a07cabbef3629835d949e69226ad1413f85cfefd",
		},
		{
			"weighted, mixed fractions", 10_007, weighted, mixed, []int32{96, 74, 99, 48, 34},
			"0a694b37577cfafa1ace913298d074ac964385a8524843da3bba5090626ab4d3",
		},
		{
			"weighted, faint fractions", 10_007, weighted, faint, []int32{76, 78, 43, 79, 70},
			"e3a790a6d00a556994bcd1ac5c8abc693952f736b982384e698660dd0f118bbb",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := mustResolve(t, mustHome(t, c.size, c.backends), c.live)
			sum := sha256.New()
			if err := binary.Write(sum, binary.LittleEndian, table); err != nil {
				t.Fatal(err)
			}
			some := []int32{table[0], table[1000], table[2000], table[3000], table[4000]}
			if !slices.Equal(some, c.some) {
				t.Errorf("slots 0, 1000 ... 4000 are owned by %v, want %v", some, c.some)
			}
			if got := hex.EncodeToString(sum.Sum(nil)); got != c.sum {
				t.Errorf("the table's SHA-256 is %s, want %s", got, c.sum)
			}
		})
	}
}

func TestVersion2Hashes(t *testing.T) {
	for key, want := range map[string]uint64{"10.1.0.1": 0x8f7ac8566d69b24f, "2001:db8::1": 0x63782f16c6a86a00} {
		if got := keyHash(key); got != want {
			t.Errorf("keyHash(%s) = %#x, want %#x", key, got, want)
		}
	}
}
