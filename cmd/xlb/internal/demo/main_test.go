package demo

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scene is what the tests' demonstrations take place in.
var scene = Scene{Backends: []string{"backend1", "backend2", "backend3"}, Sources: 6, Tolerance: 5}
