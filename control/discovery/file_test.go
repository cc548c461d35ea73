package discovery

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xlb-project/xlb/control/config"
)

// watchFile observes a file in a directory. The file is not read without an event, or only without.
func watchFile(t *testing.T, path string, change ...func(*fileSource)) *observer {
	f := newFile(&config.FileSource{Path: path}, palette())
	f.recheck = time.Hour
	for _, c := range change {
		c(f)
	}
	return newObserver(t).runs(f)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

// replace writes a file beside another one and puts it in its place.
func replace(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	must(t, os.Rename(path+".new", path))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const (
	one = "[{address: 10.0.0.1}]\n"
	two = "- address: 10.0.0.1\n- {address: 10.0.0.2, name: web-2, weight: 50}\n"
)

func TestFileOfBackendsIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backends.yaml")
	o := watchFile(t, path)
	o.emits("unknown")
	write(t, path, one)
	o.emits("10.0.0.1*100")
	replace(t, path, two)
	o.emits("10.0.0.1*100 web-2=10.0.0.2*50")
	replace(t, path, "\n# the same\n"+two)
	replace(t, path, `[{"address": "10.0.0.3", "weight": 1}]`) // JSON
	o.emits("10.0.0.3*1")
	must(t, os.Remove(path))
	o.emits("10.0.0.3*1 kept")
	write(t, path, one)
	o.emits("10.0.0.1*100")
}

func TestBrokenFileLeavesWhatWasThere(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path string)
		says  string
	}{
		"no YAML":       {func(t *testing.T, path string) { replace(t, path, "[{address: 10.0.0.2},") }, ""},
		"another field": {func(t *testing.T, path string) { replace(t, path, "[{address: 10.0.0.2, wieght: 3}]") }, "weight"},
		"no address":    {func(t *testing.T, path string) { replace(t, path, "[{name: web}]") }, "address"},
		"no backends":   {func(t *testing.T, path string) { replace(t, path, "[]") }, ""},
		"nothing":       {func(t *testing.T, path string) { replace(t, path, "") }, ""},
		"the loopback":  {func(t *testing.T, path string) { replace(t, path, "[{address: 127.0.0.1}]") }, "127.0.0.1"},
		"removed":       {func(t *testing.T, path string) { must(t, os.Remove(path)) }, "no such file"},
		"a directory":   {func(t *testing.T, path string) { must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o700)) }, "not a regular file"},
		"a pipe":        {func(t *testing.T, path string) { must(t, os.Remove(path)); must(t, syscall.Mkfifo(path, 0o600)) }, "not a regular file"},
		"far too much":  {func(t *testing.T, path string) { must(t, os.Truncate(path, maxFile+1)) }, "16 MiB"},
		"too many of them": {func(t *testing.T, path string) {
			var b strings.Builder
			for _, host := range hosts(web, 21) {
				b.WriteString("- address: " + strings.Fields(host)[4] + "\n")
			}
			replace(t, path, b.String())
		}, "limits.backends"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "backends.yaml")
			write(t, path, one)
			o := watchFile(t, path)
			o.emits("10.0.0.1*100")
			c.spoil(t, path)
			set := o.emits("10.0.0.1*100 kept")
			for _, want := range []string{path, c.says} {
				if !strings.Contains(set.Err.Error(), want) {
					t.Errorf("error %q does not say %q", set.Err, want)
				}
			}
			must(t, os.RemoveAll(path))
			write(t, path, two)
			for brief(set) != "10.0.0.1*100 web-2=10.0.0.2*50" { // that it was gone may be told before
				set = <-o.sets
			}
		})
	}
}

func TestEmptyFileEmptiesAServiceThatAllowsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backends.yaml")
	write(t, path, one)
	o := watchFile(t, path, func(f *fileSource) { f.service.Discover.AllowEmpty = true })
	o.emits("10.0.0.1*100")
	replace(t, path, "[]")
	o.emits("")
	must(t, os.Remove(path))
	o.emits("kept")
}

func TestBackendsOfAFileHaveTheWeightOfTheDiscoveryUnlessTheyGiveOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backends.yaml")
	write(t, path, two)
	watchFile(t, path, func(f *fileSource) { f.service.Discover.Weight = 7 }).emits("10.0.0.1*7 web-2=10.0.0.2*50")
}

// As Kubernetes does with ConfigMaps: the file is a link through a link to a directory, which is replaced.
func TestFileBehindLinksIsFollowed(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"v1": one, "v2": two} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		write(t, filepath.Join(dir, name, "backends.yaml"), text)
	}
	path := filepath.Join(dir, "backends.yaml")
	must(t, os.Symlink("v1", filepath.Join(dir, "..data")))
	must(t, os.Symlink("..data/backends.yaml", path))
	o := watchFile(t, path)
	o.emits("10.0.0.1*100")
	must(t, os.Symlink("v2", filepath.Join(dir, "next")))
	must(t, os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "..data")))
	o.emits("10.0.0.1*100 web-2=10.0.0.2*50")
	write(t, filepath.Join(dir, "v2", "backends.yaml"), "[{address: 10.0.0.9}]")
	o.emits("10.0.0.9*100")
}

func TestFileIsReadAgainWithoutEvents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "backends.yaml")
	o := watchFile(t, path, func(f *fileSource) { f.recheck = 10 * time.Millisecond })
	o.emits("unknown")
	must(t, os.Mkdir(dir, 0o700)) // which nobody watches
	write(t, path, one)
	set := <-o.sets
	for !set.Known { // the directory is seen before the file
		set = <-o.sets
	}
	if brief(set) != "10.0.0.1*100" {
		t.Errorf("found %q", brief(set))
	}
}
