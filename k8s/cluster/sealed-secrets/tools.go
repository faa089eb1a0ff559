//go:build tools

// Sealed Secrets: what opens them in the cluster, and what seals them here. Both are upstream's own commands, built by their paths.
package tools

import (
	_ "github.com/bitnami-labs/sealed-secrets/cmd/controller"
	_ "github.com/bitnami-labs/sealed-secrets/cmd/kubeseal"
)
