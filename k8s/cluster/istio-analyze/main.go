// What `istioctl analyze --all-namespaces` says of a cluster: the same analyzers, a line for each finding. istioctl itself has much more in it
// that nobody needs here.
package main

import (
	"fmt"
	"os"

	"istio.io/istio/pkg/config/analysis/analyzers"
	"istio.io/istio/pkg/config/analysis/diag"
	"istio.io/istio/pkg/config/analysis/local"
	"istio.io/istio/pkg/config/resource"
	"istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/log"
)

func main() {
	if err := analyze(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func analyze() error {
	// Findings have the output for themselves.
	logs := log.DefaultOptions()
	logs.OutputPaths = []string{"stderr"}
	if err := log.Configure(logs); err != nil {
		return err
	}
	client, err := kube.NewCLIClient(kube.BuildClientCmd(os.Getenv("KUBECONFIG"), ""))
	if err != nil {
		return err
	}
	all, system := resource.Namespace(""), resource.Namespace("istio-system")
	analyzer := local.NewIstiodAnalyzer(analyzers.AllCombined(), all, system, nil)
	analyzer.AddRunningKubeSource(kube.EnableCrdWatcher(client))
	result, err := analyzer.Analyze(make(chan struct{}))
	if err != nil {
		return err
	}
	for _, message := range result.Messages.SortedDedupedCopy() {
		if message.Type.Level().IsWorseThanOrEqualTo(diag.Info) {
			fmt.Println(message.String())
		}
	}
	return nil
}
