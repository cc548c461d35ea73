package control

// tellOverruns tells when the kernel dropped news because nobody read them in
// time. The watcher has read everything anew by itself.
func (e *Engine) tellOverruns() {
	now := e.Neighbours.Stats().Overruns
	if now == e.overruns {
		return
	}
	e.overruns = now
	e.warn(EventOverrun, nil, nil, "the kernel dropped news of links, routes and neighbours, %d times so far: all of them are read again", now)
}
