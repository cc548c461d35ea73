package testenv

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestEventuallyReturnsWhenTheConditionHoldsOrTellsWhatItWaitedFor(t *testing.T) {
	calls := 0
	err := Eventually(within(t, 10*time.Second), "three calls", func() error {
		if calls++; calls < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || calls != 3 {
		t.Errorf("%d calls, %v", calls, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	last := errors.New("still cold")
	err = Eventually(ended, "warm weather", func() error { return last })
	if !errors.Is(err, last) || !strings.Contains(err.Error(), "warm weather") {
		t.Errorf("got %v", err)
	}
}
