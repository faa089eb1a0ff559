//go:build tools

// KServe: the controller of InferenceServices. Upstream's own, built by its path.
package tools

import (
	_ "github.com/kserve/kserve/cmd/manager"
)
