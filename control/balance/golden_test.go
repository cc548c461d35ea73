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
			"two, all live", 4_099, pool(2), allLive(2), []int32{0, 0, 1, 1, 1},
			"7d409d32f1bc082248d624f21e79b28be122297145597078410c63c5e670f8f8",
		},
		{
			"two of one seed, all live", 4_099, twins, allLive(2), []int32{1, 0, 1, 1, 0},
			"a1c9bec987954928a7ae719d574d8a81220416a0f84db8b12820baf5fc9fbba3",
		},
		{
			"three, all live", 4_099, pool(3), allLive(3), []int32{2, 0, 1, 1, 1},
			"7cac9b710491d6e8fbe8514b78b5a80022a3ab983c8d04e16b375f403ff6c522",
		},
		{
			"three, one down", 4_099, pool(3), downFirst(3, 1), []int32{2, 1, 1, 1, 1},
			"d6fc3037d89b35a67c672248ca8ac99c6c583f8fd63c1f796c126ccfe2537946",
		},
		{
			"forty, all live", 4_099, pool(40), allLive(40), []int32{36, 20, 9, 35, 5},
			"c71ec8f80b1db67241226170b229f7c6857fc47021b69285a15e008d54b71611",
		},
		{
			"forty, two weights, all live", 4_099, twoWeights[:40], allLive(40), []int32{13, 20, 9, 1, 5},
			"edc52cd0037d745a348607ff35c1b8a30901af9f6d28fa537e2985126c12b4e4",
		},
		{
			"hundred, weighted, all live", 4_099, weighted, allLive(100), []int32{92, 83, 75, 99, 77},
			"79bd282d290911a57a2c4f482060f4ad905f72f8a450cf0882e90b2a75971acb",
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
