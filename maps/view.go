package maps

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// view is an mmapped BPF array seen as Go rows. T is a fixed-layout type that
// bpf2go made from the C one; its size is a multiple of 8, the array's stride.
type view[T any] struct {
	memory []byte
	rows   []T
}

func openView[T any](m *ebpf.Map) (view[T], error) {
	var row T
	size := int(unsafe.Sizeof(row))
	if size%8 != 0 || uint32(size) != m.ValueSize() {
		return view[T]{}, fmt.Errorf("map %s: the kernel's rows have %d bytes, this program's %d", m, m.ValueSize(), size)
	}
	page := unix.Getpagesize()
	length := (int(m.MaxEntries())*size + page - 1) / page * page
	memory, err := unix.Mmap(m.FD(), 0, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return view[T]{}, fmt.Errorf("mmap map %s: %w", m, err)
	}
	return view[T]{memory, unsafe.Slice((*T)(unsafe.Pointer(&memory[0])), m.MaxEntries())}, nil
}

func (v *view[T]) close() error {
	if v.memory == nil {
		return nil
	}
	err := unix.Munmap(v.memory)
	v.memory, v.rows = nil, nil
	return err
}

// storeWords writes a row as atomic 8-byte words: a packet sees each word
// either old or new.
func storeWords[T any](to, from *T) {
	words := unsafe.Sizeof(*to) / 8
	dst := unsafe.Slice((*uint64)(unsafe.Pointer(to)), words)
	src := unsafe.Slice((*uint64)(unsafe.Pointer(from)), words)
	for i := range dst {
		if src[i] != dst[i] {
			atomic.StoreUint64(&dst[i], src[i])
		}
	}
}

// Grace waits until no packet that began before the call is still under way, so
// that what it might have read can be reused. An XDP program runs inside an RCU
// read section, and MEMBARRIER_CMD_GLOBAL waits for all of those.
func Grace() error {
	const commandGlobal = 1
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, commandGlobal, 0, 0)
	switch {
	case errno == 0:
		return nil
	case errors.Is(errno, unix.EINVAL), errors.Is(errno, unix.ENOSYS):
		// refused where nohz_full CPUs exist; an update of a map of maps waits likewise
		return graceByMap()
	}
	return fmt.Errorf("membarrier: %w", errno)
}

// graceByMap waits for a grace period through the kernel's own rule that an
// update of an inner map returns only when no program uses the old one.
func graceByMap() error {
	inner := &ebpf.MapSpec{Name: "xlb_grace_in", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	value, err := ebpf.NewMap(inner)
	if err != nil {
		return fmt.Errorf("create map for a grace period: %w", err)
	}
	defer value.Close()
	outer, err := ebpf.NewMap(&ebpf.MapSpec{Name: "xlb_grace", Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 1, InnerMap: inner})
	if err != nil {
		return fmt.Errorf("create map for a grace period: %w", err)
	}
	defer outer.Close()
	if err := outer.Put(uint32(0), value); err != nil {
		return fmt.Errorf("wait for a grace period: %w", err)
	}
	return nil
}
