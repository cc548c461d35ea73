// Package handover carries records of flows from one node to another, so that a node that takes over another's clients
// sends their flows where they have been. Who the peers are, when they talk and through what is for others to say: a
// stream goes into any io.Writer and comes out of any io.Reader.
//
// Only records travel that a peer needs, see [transition.Scan.Stray]; a node with nothing in transition sends none. A peer
// takes in those that would decide something there, see [transition.Table.Counts]. It never loses a record of its own for
// one of another node's. Rounds may be repeated: what is known already is passed over.
//
// Backends go by their service's name and their address, as numbers are each node's own. A record is found by its flow's
// tuple hash, of which it knows some bits: the tag and the number of its bucket. So the peers' flow hashes must have the
// same key; their tables need not have the same size.
//
// # The format, version 1
//
// All numbers are big-endian. A stream begins with a header in the clear:
//
//	 0   8  "xlb flow"
//	 8   2  version
//	10   6  0
//	16   8  when the stream began, in seconds since 1970
//	24  32  random bytes: the stream's name
//
// Frames follow, each of 4 bytes that say how long the rest is, at most 32 KiB and the tag, and the rest: sealed by
// AES-256-GCM with HKDF-SHA256 of the nodes' secret as the key (the salt being the stream's name), the count of frames
// before as the nonce, and the header as additional data. So frames can neither be read nor forged, replayed, reordered or
// left out; that a stream is not cut short, its last frame shows. A stream that began too long ago or has been taken in
// before is refused ([Guard]); so are records that were on their way for too long.
//
// The first byte of a frame is its kind.
//
//	1  hello     16 bytes of SHA-256 over "xlb flow hash fingerprint v1" and the flow hash's key; 1: how many low bits of
//	             hashes number buckets. The first frame, and no other.
//	2  service   4: slots of its table; the rest: its name. Services are numbered from 0 in the order of these frames.
//	3  backends  2: service; then addresses, each one byte, 4 or 6, and 4 or 16 bytes. A service's backends are
//	             numbered from 0 in the order in which they come.
//	4  records   2: service; 8: when they were as old as they say, in seconds since 1970; then 15 bytes each: 8: the hash; 4: backend;
//	             2: age in seconds; 1: state, 1 new, 2 known, 3 closing. They are as much older where they arrive as
//	             they were on their way, and two seconds more.
//	5  end       the last frame
//
// Whatever else a frame may hold is an error. A version that changes any of this has another number.
package handover
