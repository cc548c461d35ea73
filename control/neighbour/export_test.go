package neighbour

// Hold keeps the Watcher from reading events until release is called, as a busy CPU would.
func (w *Watcher) Hold() (release func()) {
	w.events.mu.Lock()
	return w.events.mu.Unlock
}
