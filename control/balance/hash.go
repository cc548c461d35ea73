package balance

import (
	"hash/fnv"
	"math"
	"math/bits"
)

const (
	slotStep = 0xd1342543de82ef95 // separates the hash streams of two slots
	walkStep = 0x9e3779b97f4a7c15 // separates two steps of one slot's stream; 2^64 over the golden ratio
)

// mix is a bijection on 64 bits in which every input bit changes every output bit with a probability near 1/2: the
// finalizer of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) with the
// constants of Stafford's variant 13.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	x ^= x >> 31
	return x
}

// keyHash is the 64-bit identity of a backend: FNV-1a, mixed because FNV leaves the high bits of like addresses alike.
func keyHash(key string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(key)) // a hash.Hash never returns an error
	return mix(h.Sum64())
}

// stepHash is the hash of slot and step that both the candidate and its acceptance are drawn from.
func stepHash(slot, step int) uint64 {
	return mix(uint64(slot)*slotStep + uint64(step)*walkStep)
}

// below reduces a hash to [0, n).
func below(hash uint64, n int) int {
	hi, _ := bits.Mul64(hash, uint64(n))
	return int(hi)
}

// exponential turns 64 uniform bits into a value above 0 of the exponential distribution with mean 1, -ln(x/2^64), right to
// about 1e-6. It is not math.Log because that may differ in the last bit between processors. The conversions forbid
// fused multiply-add for the same reason. Cutting the series short makes the logarithm too small and so keeps the result
// above 0.
func exponential(x uint64) float64 {
	x |= 1
	zeros := bits.LeadingZeros64(x)
	m := float64(x<<zeros>>11) / (1 << 52) // [1,2), x/2^64 = m / 2^(zeros+1)
	// ln m = 2 atanh t = 2 (t + t^3/3 + t^5/5 + ...), t <= 1/3
	t := (m - 1) / (m + 1)
	q := float64(t * t)
	sum := 1.0 / 9
	for _, c := range [...]float64{1.0 / 7, 1.0 / 5, 1.0 / 3, 1} {
		sum = c + float64(sum*q)
	}
	return float64(float64(zeros+1)*math.Ln2) - float64(2*t*sum)
}
