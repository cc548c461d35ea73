package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf/link"
)

// Down removes all that an instance has in the kernel, whatever state it is in;
// packets go to the kernel again. So does what instances without a daemon left of
// their probes in the calling thread's network namespace. What is not there is no
// error. It returns ErrInUse while a daemon runs.
func Down(inst Instance) error {
	if err := inst.check(); err != nil {
		return err
	}
	if err := inst.takeDown(); err != nil {
		return fmt.Errorf("take down instance %s: %w", inst.Name, err)
	}
	return RemoveProbes()
}

func (i Instance) takeDown() error {
	err := i.checkFileSystem()
	if errors.Is(err, ErrNoBPFFS) {
		return nil // then nothing can be pinned
	}
	if err != nil {
		return err
	}
	l, err := i.lockExisting()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(i.detachAll(), i.removeAll(), l.release())
}

// detachAll takes the program off all interfaces, before what it needs goes away.
func (i Instance) detachAll() error {
	entries, err := os.ReadDir(i.linkDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		path := filepath.Join(i.linkDir(), e.Name())
		if l, openErr := link.LoadPinnedLink(path, nil); openErr == nil {
			_ = l.Detach() // fails where the interface is gone
			_ = l.Close()
		}
		if removeErr := os.Remove(path); removeErr != nil {
			err = errors.Join(err, fmt.Errorf("remove pinned link: %w", removeErr))
		}
	}
	return err
}

func (i Instance) removeAll() error {
	if err := os.RemoveAll(i.dir()); err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	_ = os.Remove(i.root()) // unless another instance is there
	return nil
}
