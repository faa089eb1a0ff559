#!/bin/bash
# Process 1 of a node's namespaces: containerd, kubelet, kube-proxy. When one of them ends, this ends, and with it the node's pods.
# `cargo xtask cluster` runs it with: FOLDER (the instance), KUBE (the program), NODE (our name), ADDRESS (ours).
# Default paths are the node's own, by mounts that only its namespace has: kubelets share nothing.
set -u
keys=$FOLDER/keys logs=$FOLDER/logs own=$FOLDER/$NODE
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$own/lib" "$own/log"
mount --bind "$own/lib" /var/lib && mount --bind "$own/log" /var/log || exit 1
hostname "$NODE"

containerd --config "$own/containerd.toml" >>"$logs/$NODE-containerd.log" 2>&1 &
# It tries until containerd is there.
"$KUBE" proxy --config="$own/proxy.yaml" >>"$logs/$NODE-proxy.log" 2>&1 &
for _ in $(seq 600); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done
"$KUBE" kubelet --config="$own/kubelet.yaml" --kubeconfig="$keys/$NODE.kubeconfig" --hostname-override="$NODE" \
  --node-ip="$ADDRESS" >>"$logs/$NODE-kubelet.log" 2>&1 &

wait -n
echo "a part of $NODE ended with $?"
exit 1
