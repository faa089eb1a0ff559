//go:build tools

// Argo CD: the one program that is, by its name, its application controller, its repository server and its command line. Upstream's own, built
// by its path.
package tools

import _ "github.com/argoproj/argo-cd/v3/cmd"
