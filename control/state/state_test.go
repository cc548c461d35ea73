package state

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var full = State{
	Revision: 7, Overlay: []byte(`{"services":[1]}`), Applied: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
	Backends: []Backend{{Service: "web", Address: "10.0.0.1", Admin: "draining", Since: time.Unix(1, 0).UTC(), Deadline: time.Unix(9, 0).UTC(), Actor: "root"}},
	Journal:  &Journal{Revision: 8, Overlay: []byte(`{"services":[2]}`), Actor: "root", Attempts: 1},
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestWhatIsSavedIsLoaded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, dir)
	if got, err := s.Load(); err != nil || !cmp.Equal(got, State{}) {
		t.Errorf("an empty directory gives %+v, %v", got, err)
	}
	for _, want := range []State{full, {Revision: 1}} {
		if err := s.Save(want); err != nil {
			t.Fatal(err)
		}
		got, err := s.Load()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("loaded %v (- saved + loaded):\n%s", err, diff)
		}
	}
}

func TestADirectoryHasOneDaemon(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := Open(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("the second one gets %v", err)
	}
	if err := Remove(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("removing what is in use gives %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestACorruptFileIsSetAside(t *testing.T) {
	good, err := Encode(full)
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Replace(good, []byte(magic+version), []byte(magic+"2"), 1)
	for name, data := range map[string][]byte{
		"empty": {}, "cut": good[:len(good)/2], "end missing": good[:len(good)-1], "flipped": flip(good), "newer": newer, "text": []byte("hello\n"),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, fileName), data, 0o600); err != nil {
				t.Fatal(err)
			}
			s := open(t, dir)
			_, err := s.Load()
			aside := filepath.Join(dir, corruptName)
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), aside) {
				t.Errorf("error %v", err)
			}
			if kept, err := os.ReadFile(aside); err != nil || !bytes.Equal(kept, data) {
				t.Errorf("set aside: %q, %v", kept, err)
			}
			if got, err := s.Load(); err != nil || !cmp.Equal(got, State{}) {
				t.Errorf("then it gives %+v, %v", got, err)
			}
		})
	}
}

func flip(data []byte) []byte {
	data = bytes.Clone(data)
	data[len(data)/2] ^= 1
	return data
}

func TestAFailedSaveLeavesTheOldState(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Save(full); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, tempName), 0o700); err != nil { // in the way
		t.Fatal(err)
	}
	if err := s.Save(State{Revision: 9}); err == nil {
		t.Error("saving works with a directory in the way")
	}
	if got, err := s.Load(); err != nil || got.Revision != full.Revision {
		t.Errorf("loaded revision %d, %v", got.Revision, err)
	}
}

func TestRemoveLeavesOnlyWhatIsSetAside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := errors.Join(s.Save(full), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is there: %v", err)
	}
	if err := Remove(dir); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	good, err := Encode(full)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(magic + version + " 00\n{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Decode(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("error %v", err)
			}
			return
		}
		again, err := Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Decode(again); err != nil || !cmp.Equal(s, back) {
			t.Errorf("not what was decoded before: %v", err)
		}
	})
}
