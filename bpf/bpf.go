// Package bpf holds the data plane: the C programs, and the Go bindings and
// compiled objects that bpf2go makes of them. The objects are committed, so
// that building xlb needs Go alone; `make verify` regenerates and compares.
package bpf

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -output-stem xlb -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -I.. -I." -type vip -type port -type range -type service -type service_head -type service_rates -type server_id -type slot -type flow_bucket -type backend -type hop -type outer_dest -type record -type prefix_lengths -type rule_key -type counter -type signal_counter -type service_name -type backend_name -type forward Xlb xlb.c
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -output-stem decap -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -I.. -I." Decap decap.c
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -output-stem probe -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -I.. -I." -type probe_counters Probe probe.c
//go:generate go run genreasons.go

import (
	"crypto/sha256"
	"encoding/hex"
)

// Sum tells releases of the data path apart: the hash of its compiled object.
func Sum() string {
	sum := sha256.Sum256(_XlbBytes)
	return hex.EncodeToString(sum[:])
}
