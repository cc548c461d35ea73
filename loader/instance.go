package loader

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// DefaultRoot is where instances are pinned.
const DefaultRoot = "/sys/fs/bpf/xlb"

// Instance is a balancer on this machine: all that one daemon has in the kernel.
type Instance struct {
	Name    string // of its directory: letters, digits, - and _
	Root    string // directory of all instances, on a bpffs; DefaultRoot if empty
	Version string // of the caller, for those who come later

	// Failpoint is called before each step of a change, by name; an error ends the
	// change there. It is for tests and nil otherwise.
	Failpoint func(step string) error

	object func() (object, error) // another data path than the embedded one, in tests
}

// Errors that callers tell apart.
var (
	ErrNoBPFFS = errors.New("no bpffs is mounted there: run `mount -t bpf bpf /sys/fs/bpf`, which systemd does at boot")
	ErrInUse   = errors.New("another daemon runs this instance")
)

var instanceName = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9_]{0,62}$`)

func (i Instance) root() string {
	if i.Root == "" {
		return DefaultRoot
	}
	return i.Root
}

func (i Instance) dir() string { return filepath.Join(i.root(), i.Name) }

func (i Instance) step(name string) error {
	if i.Failpoint == nil {
		return nil
	}
	return i.Failpoint(name)
}

func (i Instance) check() error {
	if !instanceName.MatchString(i.Name) {
		return fmt.Errorf("instance %q: its name is a directory of the bpffs: use letters, digits, - and _", i.Name)
	}
	return nil
}

// checkFileSystem looks for a bpffs at the nearest directory that exists.
func (i Instance) checkFileSystem() error {
	var fs unix.Statfs_t
	path := i.root()
	for {
		err := unix.Statfs(path, &fs)
		if err == nil {
			break
		}
		if errors.Is(err, unix.EACCES) {
			return fmt.Errorf("look for a bpffs at %s: %w (%w)", path, ErrPrivilege, err)
		}
		if !errors.Is(err, unix.ENOENT) || path == filepath.Dir(path) {
			return fmt.Errorf("look for a bpffs at %s: %w", path, err)
		}
		path = filepath.Dir(path)
	}
	if fs.Type != unix.BPF_FS_MAGIC {
		return fmt.Errorf("pin instance %s under %s: %w", i.Name, i.root(), ErrNoBPFFS)
	}
	return nil
}

// lock is the right to change an instance. The kernel takes it back when the
// process ends, however it does.
type lock struct{ dir *os.File }

// lock makes the instance's directory and takes the lock on it, or returns
// ErrInUse.
func (i Instance) lock() (*lock, error) {
	for {
		err := os.MkdirAll(i.dir(), 0o700)
		if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("make a directory for instance %s: %w (%w)", i.Name, ErrPrivilege, err)
		}
		if err != nil {
			return nil, fmt.Errorf("make a directory for instance %s: %w", i.Name, err)
		}
		l, err := i.lockExisting()
		if !errors.Is(err, os.ErrNotExist) {
			return l, err
		}
	}
}

// lockExisting returns an error that wraps os.ErrNotExist if there is no
// directory, or it went away meanwhile.
func (i Instance) lockExisting() (*lock, error) {
	dir, err := os.Open(i.dir())
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer dir.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("instance %s: %w%s", i.Name, ErrInUse, lockHolder(dir))
		}
		return nil, fmt.Errorf("lock instance %s: %w", i.Name, err)
	}
	mine, err := dir.Stat()
	now, errNow := os.Stat(i.dir())
	if err := errors.Join(err, errNow); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	if !os.SameFile(mine, now) { // removed and made anew
		return nil, errors.Join(os.ErrNotExist, dir.Close())
	}
	return &lock{dir}, nil
}

func (l *lock) release() error { return l.dir.Close() }

// lockHolder names the process that has the lock on a directory, as far as the
// kernel tells: ", process 123 (xlb)".
func lockHolder(dir *os.File) string {
	var at unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &at); err != nil {
		return ""
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return ""
	}
	defer locks.Close()
	place := fmt.Sprintf("%02x:%02x:%d", unix.Major(at.Dev), unix.Minor(at.Dev), at.Ino)
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 8553 00:27:291289 0 EOF
		f := strings.Fields(lines.Text())
		if len(f) < 6 || f[1] != "FLOCK" || f[5] != place {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil && pid > 0 {
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			return fmt.Sprintf(", process %d (%s): stop it first", pid, strings.TrimSpace(string(name)))
		}
	}
	return ""
}
