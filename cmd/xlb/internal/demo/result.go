package demo

import (
	"fmt"
	"math"
	"time"
)

// Result is a demonstration's outcome, as `xlb demo --json` prints it. Fields
// are added, never renamed.
type Result struct {
	Phases           []Phase  `json:"phases"`
	Total            Total    `json:"total"`
	DataPath         DataPath `json:"dataPath"`
	TolerancePercent float64  `json:"tolerancePercent"` // what a share may be off the even one
	Broken           []string `json:"broken"`           // promises that did not hold, a sentence each
	OK               bool     `json:"ok"`               // all did
}

// Phase is what happened in one phase.
type Phase struct {
	Name            string         `json:"name"`
	Requests        int            `json:"requests"`
	Failed          int            `json:"failed"`
	FailedInWindow  int            `json:"failedInWindow"` // of Failed: while the killed backend was not found yet
	PerBackend      map[string]int `json:"perBackend"`     // requests that each backend answered
	OffPercent      *float64       `json:"offPercent"`     // largest distance of a share from the even one; null in Kill
	Moved           int            `json:"moved"`          // clients that met another backend than in Spread
	MovedNeedlessly int            `json:"movedNeedlessly"`
	DetectMs        *float64       `json:"detectMs"` // until the health check noticed; null where there is nothing to notice
	FirstError      string         `json:"firstError,omitempty"`
	Summary         string         `json:"-"`
}

// Total adds up the phases.
type Total struct {
	Requests            int     `json:"requests"`
	Failed              int     `json:"failed"`
	FailedOutsideWindow int     `json:"failedOutsideWindow"`
	MovedNeedlessly     int     `json:"movedNeedlessly"`
	Seconds             float64 `json:"seconds"` // of the whole demonstration, with building the lab
}

// Tolerance returns by how many percent of its size a share may differ from
// the even one: 5, or three standard deviations of chance where few requests
// make that more. Shares of n requests over k backends are binomial, with a
// relative standard deviation of sqrt((k-1)/n).
func Tolerance(requests, backends int) float64 {
	chance := 100 * 3 * math.Sqrt(float64(backends-1)/float64(requests))
	return max(5, math.Round(chance*10)/10)
}

func newResult(phases []Phase, path DataPath, tolerance float64, took time.Duration) Result {
	r := Result{Phases: phases, DataPath: path, TolerancePercent: tolerance, Broken: broken(phases, tolerance)}
	r.OK = len(r.Broken) == 0
	r.Total.Seconds = took.Seconds()
	for _, p := range phases {
		r.Total.Requests += p.Requests
		r.Total.Failed += p.Failed
		r.Total.FailedOutsideWindow += p.Failed - p.FailedInWindow
		r.Total.MovedNeedlessly += p.MovedNeedlessly
	}
	return r
}

// broken checks the phases against what xlb promises, and returns a sentence
// for each promise that was not kept.
func broken(phases []Phase, tolerance float64) []string {
	sentences := []string{}
	say := func(format string, args ...any) { sentences = append(sentences, fmt.Sprintf(format, args...)) }
	for _, p := range phases {
		if n := p.Failed - p.FailedInWindow; n > 0 {
			say("phase %q: %d of %d requests failed outside the detection window, first: %s", p.Name, n, p.Requests, p.FirstError)
		}
		if p.MovedNeedlessly > 0 {
			say("phase %q: %d clients moved without need", p.Name, p.MovedNeedlessly)
		}
		if p.OffPercent != nil && *p.OffPercent > tolerance {
			say("phase %q: a backend's share is %.1f %% off the even one, more than %.1f %%", p.Name, *p.OffPercent, tolerance)
		}
	}
	return sentences
}

// measureShares notes how far the shares of the backends but the dead one are from even.
func (p *Phase) measureShares(backends []string, dead int) {
	alive, sum := 0, 0
	for i, b := range backends {
		if i != dead {
			alive++
			sum += p.PerBackend[b]
		}
	}
	even, off := float64(sum)/float64(alive), 0.0
	for i, b := range backends {
		if i != dead && even > 0 {
			off = max(off, 100*math.Abs(float64(p.PerBackend[b])/even-1))
		}
	}
	p.OffPercent = &off
}

func (p *Phase) setDetect(d time.Duration) {
	ms := float64(d.Microseconds()) / 1000
	p.DetectMs = &ms
}
