package maps

import (
	"hash/fnv"
	"math/bits"
)

// A slot of a table of few backends belongs to the one with the highest score, by
// rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase
// hit rates", 1998), so that the data path can compute the owner instead of reading
// it. What a score is made of is frozen, as all nodes have to agree.

// Seed tells a backend's scores from those of others, by its key: 1 to 255. Two of a
// few hundred pairs of backends share one.
func Seed(key string) uint8 {
	h := fnv.New64a()
	h.Write([]byte(key)) // a hash.Hash never returns an error
	high, _ := bits.Mul64(mix64(h.Sum64()), 255)
	return uint8(1 + high)
}

// SlotScore returns how much a slot is a backend's, for the backend's seed: uniform
// over all 32 bits. It is slot_score of bpf/lib/rendezvous.h.
func SlotScore(slot int, seed uint8) uint32 { return Score(SlotHash(slot), SeedHash(seed)) }

// SlotHash is the slot's part of its scores, for who computes many of one slot.
func SlotHash(slot int) uint64 { return uint64(slot) * 0x9e3779b97f4a7c15 }

// SeedHash is the backend's part.
func SeedHash(seed uint8) uint64 { return uint64(seed) * 0xc2b2ae3d27d4eb4f }

// Score makes a score of both parts.
func Score(slot, seed uint64) uint32 {
	h := slot ^ seed
	h ^= h >> 32
	return uint32(h * 0xd6e8feb86659fd93 >> 32)
}
