package api

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"

	"github.com/xlb-project/xlb/control/config"
)

const noGroup = -1

// Access says who may ask for what.
type Access struct {
	group int // its members may do everything; noGroup: only root
	all   bool
}

// NewAccess returns the access that a configuration asks for. Without the group
// of the default it is root's alone; any other group must exist.
func NewAccess(settings config.API) (Access, error) {
	a := Access{group: noGroup, all: settings.Read == config.ReadAll}
	gid := settings.Group
	if g, err := user.LookupGroup(settings.Group); err == nil {
		gid = g.Gid
	} else if settings.Group == config.DefaultAPIGroup {
		return a, nil
	}
	number, err := strconv.ParseUint(gid, 10, 31)
	if err != nil {
		return a, fmt.Errorf("api.group: there is no group %s: make it (groupadd --system %[1]s), or name another", settings.Group)
	}
	a.group = int(number)
	return a, nil
}

// protect gives the socket the mode that keeps others from connecting at all.
func (a Access) protect(path string) error {
	mode := os.FileMode(0o600)
	if a.group != noGroup {
		if err := os.Chown(path, -1, a.group); err != nil {
			return err
		}
		mode = 0o660
	}
	if a.all {
		mode = 0o666
	}
	return os.Chmod(path, mode)
}

// right is what a request needs, or what a peer has.
type right int

const (
	nothing right = iota
	read          // what holds no secrets
	full
)

func (a Access) of(p peer) right {
	switch {
	case p.uid == 0, int(p.uid) == os.Geteuid():
		return full
	case a.group != noGroup && slices.Contains(p.groups, uint32(a.group)):
		return full
	case a.all:
		return read
	}
	return nothing
}

// forbid is the answer to a peer without the right.
func (a Access) forbid(p peer) *Problem {
	who := "root alone may"
	if a.group != noGroup {
		who = fmt.Sprintf("root and members of the group %s may", groupName(a.group))
	}
	return newProblem(CodeForbidden, p.name+" may not do that", who)
}

func groupName(gid int) string {
	id := strconv.Itoa(gid)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}
