package config

import (
	"path/filepath"
	"regexp"
	"strings"
)

const (
	maxInstance = 31  // bytes; its name is part of a socket's
	maxSocket   = 107 // bytes; sun_path of unix(7) less its NUL
)

var (
	instancePattern = regexp.MustCompile(`^[a-z0-9][-a-z0-9_]*$`) // bpffs refuses dots
	groupPattern    = regexp.MustCompile(`^[a-zA-Z0-9_][-a-zA-Z0-9_.]{0,31}$`)
)

func (v *validator) instance(c *Config) {
	if len(c.Instance) > maxInstance || !instancePattern.MatchString(c.Instance) {
		v.fail("instance", quote(c.Instance)+" is not "+wantInstance.what,
			"write up to 31 of a-z, 0-9, '-' and '_', beginning with a letter or digit")
	}
	if !plainPath(c.StateDir) {
		v.fail("state_dir", quote(c.StateDir)+" is not "+wantStateDir.what, wantStateDir.remedy)
	}
}

func (v *validator) api(a API) {
	if !plainPath(a.Socket) || len(a.Socket) > maxSocket {
		v.fail("api.socket", quote(a.Socket)+" is not "+wantSocket.what,
			"write a plain absolute path of up to 107 bytes such as "+DefaultAPISocket)
	}
	if !groupPattern.MatchString(a.Group) {
		v.fail("api.group", quote(a.Group)+" is not "+wantGroup.what, wantGroup.remedy)
	}
	v.oneOf("api.read", string(a.Read), wantRead)
}

// plainPath reports whether a path is absolute and has no detours.
func plainPath(path string) bool {
	return filepath.IsAbs(path) && filepath.Clean(path) == path && path != "/" && !strings.ContainsRune(path, 0)
}

func (v *validator) deadDaemon(d DeadDaemon) {
	switch d.Action {
	case Keep:
		if d.After != 0 {
			v.fail("dead_daemon", "keep has no time", wantDead.remedy)
		}
	case PassAfter, DropAfter:
		v.lasting("dead_daemon", d.After, MinSilence, MaxSilence)
	default:
		v.fail("dead_daemon", quote(string(d.Action))+" is not "+wantDead.what, wantDead.remedy)
	}
}

func (v *validator) flows(f Flows) {
	v.lasting("flows.idle", f.Idle, MinFlowIdle, MaxFlowIdle)
	v.lasting("flows.learn", f.Learn, MinFlowLearn, MaxFlowLearn)
	if f.MaxTransition < f.Learn {
		v.fail("flows.max_transition", spanText(f.MaxTransition)+" is shorter than flows.learn, "+spanText(f.Learn), "write more, or less for flows.learn")
		return
	}
	v.lasting("flows.max_transition", f.MaxTransition, MinFlowLearn, MaxTransition)
}
