package main

import (
	"testing"
	"time"
)

const wrkSays = `Running 2s test @ http://192.0.2.10/healthz
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   512.02us  300.11us   9.02ms   91.50%
    Req/Sec    30.11k     2.50k   34.00k    70.00%
  Latency Distribution
     50%  443.00us
     75%  600.00us
     90%  812.00us
     99%    1.50ms
  60221 requests in 2.00s, 4.31MB read
Requests/sec:  30105.40
`

func TestWrkIsRead(t *testing.T) {
	got, err := parseWrk(wrkSays)
	want := answers{60221, 443 * time.Microsecond, 1500 * time.Microsecond}
	if err != nil || got != want {
		t.Errorf("got %v and error %v, want %v", got, err, want)
	}
}

func TestFailedRequestsAreAnError(t *testing.T) {
	for _, more := range []string{"  Socket errors: connect 0, read 3, write 0, timeout 0\n", "  Non-2xx or 3xx responses: 7\n"} {
		if _, err := parseWrk(wrkSays + more); err == nil {
			t.Errorf("no error for %q", more)
		}
	}
	if _, err := parseWrk(""); err == nil {
		t.Error("no error for an empty report")
	}
}
