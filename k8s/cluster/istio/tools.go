//go:build tools

// Istio: istiod, and the agent that is beside each proxy. Upstream's own, built by their paths.
package tools

import (
	_ "istio.io/istio/pilot/cmd/pilot-agent"
	_ "istio.io/istio/pilot/cmd/pilot-discovery"
)
