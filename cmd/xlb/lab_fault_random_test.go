package main

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Daemons killed by chance of a short test and of a long one.
const (
	fewKills  = 4
	manyKills = 200
)

// A daemon may be killed between the steps as well: at any moment of one change after the other.
func TestDaemonMayDieAtAnyMoment(t *testing.T) {
	c := newChanges(t)
	clients, end := traffic(t, c.lab, 8, true)
	kills := fewKills
	if long() {
		kills = manyKills
	}
	finished, absent := 0, 0
	for n := range kills {
		last := make(chan int)
		go func() { // ends with the daemon
			to := 1 - c.is
			for {
				if _, err := c.node.Apply(t.Context(), 0, "test", []byte(c.node.Complete(c.configs[to]))); err != nil {
					last <- to
					return
				}
				to = 1 - to
			}
		}()
		chance := time.NewTimer(rand.N(time.Second)) // about what two changes take
		<-chance.C
		must(t, c.node.Kill(deadline(t)))
		killed := time.Now()
		to := <-last
		if err := clients.AwaitMore(deadline(t), 2); err != nil {
			t.Fatalf("kill %d, at %s: %v", n, killed.Format("15:04:05.000"), err)
		}
		must(t, c.node.Start(deadline(t)))
		switch {
		case runs(t, c.node, c.configs[to]):
			c.is = to
			finished++
		case runs(t, c.node, c.configs[1-to]):
			c.is = 1 - to
			absent++
		default:
			t.Errorf("kill %d: neither the one nor the other configuration runs", n)
		}
		c.wantWhole(fmt.Sprintf("kill %d", n))
	}
	must(t, clients.AwaitMore(deadline(t), 2))
	t.Logf("%d kills: %d changes were finished, %d are absent", kills, finished, absent)
	end()
	c.wantNumbersBack()
}
