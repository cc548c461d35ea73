package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peer is who is at the other end of a connection, as the kernel recorded it
// when the connection was made.
type peer struct {
	pid    int
	uid    uint32
	groups []uint32 // the primary one first
	name   string   // for people: alice (pid 4711)
}

type peerKey struct{}

func withPeer(ctx context.Context, p peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// peerOf returns who asks.
func peerOf(ctx context.Context) (peer, bool) {
	p, ok := ctx.Value(peerKey{}).(peer)
	return p, ok
}

// actor names who asks, for events.
func actor(ctx context.Context) string {
	p, _ := peerOf(ctx)
	return p.name
}

func identify(c *net.UnixConn) (peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var p peer
	var failed error
	err = raw.Control(func(fd uintptr) {
		var ucred *unix.Ucred
		if ucred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); failed != nil {
			return
		}
		p.pid, p.uid = int(ucred.Pid), ucred.Uid
		p.groups, failed = peerGroups(fd)
		p.groups = append([]uint32{ucred.Gid}, p.groups...)
	})
	if err := errors.Join(err, failed); err != nil {
		return peer{}, fmt.Errorf("ask the kernel who connects: %w", err)
	}
	p.name = describe(p.pid, p.uid)
	return p, nil
}

// peerGroups returns the supplementary groups, which SO_PEERCRED leaves out. The
// kernel's answer holds whatever name service the machine uses.
func peerGroups(fd uintptr) ([]uint32, error) {
	groups := make([]uint32, 64)
	for {
		size := uint32(4 * len(groups))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == unix.ERANGE && int(size) > 4*len(groups):
			groups = make([]uint32, size/4)
		case errno != 0:
			return nil, errno
		default:
			return groups[:size/4], nil
		}
	}
}

// describe names a process's user, and who logged in to become it.
func describe(pid int, uid uint32) string {
	var b strings.Builder
	b.WriteString(userName(uid))
	b.WriteString(" (")
	if login, ok := loginUser(pid); ok && login != uid {
		fmt.Fprintf(&b, "login %s, ", userName(login))
	}
	fmt.Fprintf(&b, "pid %d)", pid)
	return b.String()
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// loginUser returns the user that a process's session was opened by, which sudo
// and su do not change.
func loginUser(pid int) (uint32, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/loginuid", pid))
	if err != nil {
		return 0, false
	}
	const unset = ^uint32(0)
	uid, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	return uint32(uid), err == nil && uint32(uid) != unset
}
