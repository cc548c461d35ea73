package model

import (
	"fmt"

	"github.com/xlb-project/xlb/maps"
)

// Verdict is what happens to a packet, numbered as XDP's actions are.
type Verdict uint32

// Verdicts.
const (
	Drop     Verdict = 1
	Pass     Verdict = 2
	TX       Verdict = 3
	Redirect Verdict = 4
)

func (v Verdict) String() string {
	switch v {
	case Drop:
		return "drop"
	case Pass:
		return "pass"
	case TX:
		return "tx"
	case Redirect:
		return "redirect"
	}
	return fmt.Sprintf("verdict %d", uint32(v))
}

// Result is what became of one packet.
type Result struct {
	Verdict Verdict
	Reason  string
	Backend maps.BackendID // whom a forwarded packet is counted for, else 0
	Frame   []byte         // the frame as it leaves, is passed, or was when dropped; valid until the next call
}
