package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// answers is the part of wrk's report that is used.
type answers struct {
	requests int
	p50, p99 time.Duration
}

// parseWrk reads what `wrk --latency` prints. Requests that failed are an error.
func parseWrk(text string) (a answers, err error) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case strings.Contains(line, "Socket errors") || strings.Contains(line, "Non-2xx"):
			return a, errors.New("requests failed")
		case len(f) == 2 && f[0] == "50%":
			a.p50, err = time.ParseDuration(f[1])
		case len(f) == 2 && f[0] == "99%":
			a.p99, err = time.ParseDuration(f[1])
		case len(f) > 2 && f[1] == "requests" && f[2] == "in":
			a.requests, err = strconv.Atoi(f[0])
		}
		if err != nil {
			return a, err
		}
	}
	if a.requests == 0 || a.p50 == 0 || a.p99 == 0 {
		return a, fmt.Errorf("%d requests, median %s, 99%% within %s", a.requests, a.p50, a.p99)
	}
	return a, nil
}
