package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/xlb-project/xlb/control/config"
)

const (
	maxFile  = 16 << 20               // bytes of a file of backends
	quiet    = 100 * time.Millisecond // without a further event the file is taken for complete
	restless = time.Second            // and after so long in any case
	recheck  = 30 * time.Second       // the file is read all the same: not every filesystem has events
)

// fileSource watches a file. It watches the directories that the file and what it links to are in: a file that is
// replaced by rename is another one, and so is one that appears.
type fileSource struct {
	rules
	path    string
	recheck time.Duration

	data     []byte // as read last, nil if that failed
	backends []config.Backend
	err      error // of data
}

func newFile(cfg *config.FileSource, rules rules) *fileSource {
	return &fileSource{rules: rules, path: cfg.Path, recheck: recheck}
}

func (f *fileSource) Run(ctx context.Context, emit func(Set)) {
	k := &keeper{rules: f.rules, what: "discover backends in " + f.path, emit: emit}
	var events chan fsnotify.Event
	var lost chan error
	watcher, err := fsnotify.NewWatcher()
	if err == nil { // else there is still the recheck
		defer watcher.Close()
		events, lost = watcher.Events, watcher.Errors
	}
	ticks := time.NewTicker(f.recheck)
	defer ticks.Stop()
	for {
		if watcher != nil {
			f.watch(watcher)
		}
		f.read(k)
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		case <-lost:
		case <-events:
			if !settle(ctx, events) {
				return
			}
		}
	}
}

// settle waits for the end of a burst of events. It returns false when ctx ends.
func settle(ctx context.Context, events <-chan fsnotify.Event) bool {
	longest := time.NewTimer(restless)
	defer longest.Stop()
	for {
		silence := time.NewTimer(quiet)
		select {
		case <-ctx.Done():
			return false
		case <-longest.C:
			return true
		case <-silence.C:
			return true
		case <-events:
			silence.Stop()
		}
	}
}

// watch watches the directories that matter now, before the file is read.
func (f *fileSource) watch(w *fsnotify.Watcher) {
	want := map[string]bool{filepath.Dir(f.path): true}
	if target, err := filepath.EvalSymlinks(f.path); err == nil {
		want[filepath.Dir(target)] = true
	}
	for _, dir := range w.WatchList() {
		if !want[dir] {
			w.Remove(dir) // fails if it is gone, which is as well
		}
	}
	for dir := range want {
		w.Add(dir) // fails if it is not there yet, which reading the file tells
	}
}

func (f *fileSource) read(k *keeper) {
	data, err := readFile(f.path)
	if err != nil {
		f.data = nil
		k.failed(err)
		return
	}
	if f.data == nil || !bytes.Equal(data, f.data) {
		f.data = data
		f.backends, f.err = config.ParseBackends(f.path, data, f.service.Discover.Weight)
	}
	if f.err != nil {
		k.failed(f.err)
		return
	}
	k.found(f.backends)
}

// readFile reads a regular file, whatever else may be in its place, and no more of it than there should be.
func readFile(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, errors.Unwrap(err) // without the path
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("it has more than %d MiB, too much for a list of backends", maxFile>>20)
	}
	return data, nil
}
