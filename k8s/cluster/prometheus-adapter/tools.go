//go:build tools

// prometheus-adapter, which gives an HPA what Prometheus counted. Upstream's own, built by its path.
package tools

import _ "sigs.k8s.io/prometheus-adapter/cmd/adapter"
