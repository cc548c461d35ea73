package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Names in the directory of an instance.
const (
	fileName    = "state"
	tempName    = "state.new"
	lockName    = "lock"
	corruptName = "state.corrupt"
)

// ErrInUse means that a living daemon has the directory.
var ErrInUse = errors.New("another xlb has it")

// Store is the directory of an instance, held by one daemon.
type Store struct {
	dir  string
	lock *os.File
}

// Open takes the directory, which it makes if need be. It returns ErrInUse if
// another daemon holds it.
func Open(dir string) (*Store, error) {
	err := os.MkdirAll(dir, 0o700)
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("make state directory: not permitted: run as root, or set state_dir to a directory of your own (%w)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder, _ := io.ReadAll(io.LimitReader(lock, 32))
		lock.Close()
		return nil, fmt.Errorf("take state directory %s: %w (process %s): end it, or give this one another `instance`",
			dir, ErrInUse, strings.TrimSpace(string(holder)))
	}
	if err == nil {
		err = errors.Join(lock.Truncate(0), writeAt(lock, fmt.Sprintln(os.Getpid())))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock state directory %s: %w", dir, err), lock.Close())
	}
	return &Store{dir, lock}, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// Close lets go of the directory.
func (s *Store) Close() error { return s.lock.Close() }

// Load returns the state, the zero one if there is none. A file that cannot be
// trusted is renamed, and the error, which wraps ErrCorrupt, names its new place.
func (s *Store) Load() (State, error) {
	path := filepath.Join(s.dir, fileName)
	data, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("read state: %w", err)
	}
	state, err := Decode(data)
	if err == nil {
		return state, nil
	}
	aside := filepath.Join(s.dir, corruptName)
	if err2 := os.Rename(path, aside); err2 != nil {
		return State{}, errors.Join(fmt.Errorf("read %s: %w", path, err), fmt.Errorf("set it aside: %w", err2))
	}
	return State{}, fmt.Errorf("read %s: %w; it is set aside as %s", path, err, aside)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSize))
}

// Save replaces the state. When it returns nil the state is on the disk; on an
// error the old one is still there.
func (s *Store) Save(state State) error {
	data, err := Encode(state)
	if err != nil {
		return err
	}
	if len(data) > maxSize {
		return fmt.Errorf("write state: its %d bytes are more than the %d that are read again", len(data), maxSize)
	}
	temp := filepath.Join(s.dir, tempName)
	if err := writeSynced(temp, data); err != nil {
		return errors.Join(fmt.Errorf("write state: %w", err), removeIfThere(temp))
	}
	if err := os.Rename(temp, filepath.Join(s.dir, fileName)); err != nil {
		return errors.Join(fmt.Errorf("write state: %w", err), removeIfThere(temp))
	}
	return syncDir(s.dir)
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// syncDir makes a rename last.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := dir.Sync(); err != nil {
		return errors.Join(fmt.Errorf("write state: %w", err), dir.Close())
	}
	return dir.Close()
}

// Remove forgets the state of an instance that runs no more. It returns ErrInUse
// if a daemon has its directory.
func Remove(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	s, err := Open(dir)
	if err != nil {
		return err
	}
	for _, name := range []string{fileName, tempName, lockName} { // the lock last: it is held until then
		err = errors.Join(err, removeIfThere(filepath.Join(dir, name)))
	}
	if rest := os.Remove(dir); err == nil && rest != nil && !errors.Is(rest, unix.ENOTEMPTY) {
		err = rest // what is set aside stays, for people
	}
	return errors.Join(err, s.Close())
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
