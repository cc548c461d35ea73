package maps

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"sync/atomic"

	"github.com/xlb-project/xlb/bpf"
)

// ServiceEntry says which service has a number.
type ServiceEntry struct {
	ID   ServiceID
	Name string
}

// BackendEntry says which backend has a number, and what counted when its slots
// were computed.
type BackendEntry struct {
	ID      BackendID
	Service ServiceID
	Name    string
	Address netip.Addr
	Weight  int
	Live    float64 // the fraction of its slots that it takes
	Admin   uint8   // what an operator ordered, in the control plane's numbers
}

// nameBytes is NAME_BYTES of bpf/lib/types.h.
const nameBytes = 64

// ServiceEntries returns the services that have numbers, in their order.
func (t *Tables) ServiceEntries() []ServiceEntry {
	var entries []ServiceEntry
	for id := range t.serviceNames.rows {
		if row := &t.serviceNames.rows[id]; row.Used != 0 {
			entries = append(entries, ServiceEntry{ServiceID(id), nameOf(row.Name)})
		}
	}
	return entries
}

// BackendEntries returns the backends that have numbers, in their order.
func (t *Tables) BackendEntries() []BackendEntry {
	var entries []BackendEntry
	for id := range t.backendNames.rows {
		row := &t.backendNames.rows[id]
		if row.Used == 0 {
			continue
		}
		entries = append(entries, BackendEntry{
			ID: BackendID(id), Service: ServiceID(row.Service), Name: nameOf(row.Name), Address: netip.AddrFrom16(row.Addr).Unmap(),
			Weight: int(row.Weight), Live: math.Float64frombits(row.Live), Admin: row.Admin,
		})
	}
	return entries
}

// NameService notes who has a service's number. No name frees it.
func (t *Tables) NameService(e ServiceEntry) error {
	if int(e.ID) >= len(t.serviceNames.rows) {
		return fmt.Errorf("name service %d: past limits.services (%d)", e.ID, len(t.serviceNames.rows))
	}
	if len(e.Name) > nameBytes {
		return fmt.Errorf("name service %d: %q has more than %d bytes", e.ID, e.Name, nameBytes)
	}
	row, old := bpf.XlbServiceName{}, &t.serviceNames.rows[e.ID]
	copy(row.Name[:], e.Name)
	if row.Name != old.Name {
		atomic.StoreUint64(&old.Used, 0)
	}
	row.Used = old.Used
	storeWords(old, &row)
	atomic.StoreUint64(&old.Used, used(e.Name))
	return nil
}

// NameBackend notes who has a backend's number. No name frees it.
func (t *Tables) NameBackend(e BackendEntry) error {
	if e.ID == 0 || int(e.ID) >= len(t.backendNames.rows) {
		return fmt.Errorf("name backend %d: past limits.backends (%d)", e.ID, len(t.backendNames.rows)-1)
	}
	if len(e.Name) > nameBytes {
		return fmt.Errorf("name backend %d: %q has more than %d bytes", e.ID, e.Name, nameBytes)
	}
	row, old := bpf.XlbBackendName{}, &t.backendNames.rows[e.ID]
	if e.Name != "" {
		row = bpf.XlbBackendName{Live: math.Float64bits(e.Live), Addr: e.Address.As16(), Service: uint32(e.Service), Weight: uint32(e.Weight), Admin: e.Admin}
		copy(row.Name[:], e.Name)
	}
	if row.Name != old.Name || row.Addr != old.Addr || row.Service != old.Service {
		atomic.StoreUint64(&old.Used, 0) // a crash leaves no row that is half one backend's
	}
	row.Used = old.Used
	storeWords(old, &row)
	atomic.StoreUint64(&old.Used, used(e.Name))
	return nil
}

func used(name string) uint64 {
	if name == "" {
		return 0
	}
	return 1
}

func nameOf(name [nameBytes]uint8) string {
	text, _, _ := bytes.Cut(name[:], []byte{0})
	return string(text)
}
