package demo

import (
	"os"

	"golang.org/x/sys/unix"
)

// The size of a terminal that does not tell its own.
const (
	usualWidth  = 80
	usualHeight = 24
)

// NewObserver returns the Observer that suits a file: a Screen for a terminal
// that can show one, coloured unless NO_COLOR is set, and else the other one.
func NewObserver(f *os.File, backends int, otherwise Observer) Observer {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if term := os.Getenv("TERM"); err != nil || term == "" || term == "dumb" {
		return otherwise
	}
	const least = 60 // columns that a bar needs to be one
	width, height := size(f)
	if width < least || height < len(Phases)+1+backends+1 {
		return otherwise
	}
	return NewScreen(f, func() int { w, _ := size(f); return w }, os.Getenv("NO_COLOR") == "")
}

func size(f *os.File) (width, height int) {
	s, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || s.Col == 0 || s.Row == 0 {
		return usualWidth, usualHeight
	}
	return int(s.Col), int(s.Row)
}
