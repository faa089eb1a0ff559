//go:build tools

// KEDA: its operator, and the adapter that answers an HPA's questions. Upstream's own, built by their paths.
package tools

import (
	_ "github.com/kedacore/keda/v2/cmd/adapter"
	_ "github.com/kedacore/keda/v2/cmd/operator"
)
