#!/bin/bash
# Process 1 of the control plane's namespaces: etcd, the API server, the controller manager, the scheduler, and the registry that
# all nodes pull from. When one of them ends, this ends, and with it all the others: a half cluster is worse than none.
# `cargo xtask cluster` runs it with: FOLDER (the instance), KUBE (the program), ADDRESS (ours), SERVICES (their range).
set -u
keys=$FOLDER/keys logs=$FOLDER/logs
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$FOLDER/etcd" && mount -t tmpfs tmpfs "$FOLDER/etcd" # no disk has to keep what ends with us
hostname control-plane

# Waits at most 60 s; a part that has ended is told by what comes after.
answers() { for _ in $(seq 600); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "no answer: $*"; exit 1; }

docker-registry serve "$FOLDER/registry.yaml" >>"$logs/registry.log" 2>&1 &

"$KUBE" etcd --data-dir "$FOLDER/etcd/data" --unsafe-no-fsync \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
  --initial-cluster default=http://127.0.0.1:2380 >>"$logs/etcd.log" 2>&1 &

# It tries until etcd is there.
"$KUBE" apiserver --etcd-servers=http://127.0.0.1:2379 \
  --advertise-address="$ADDRESS" --bind-address=0.0.0.0 --secure-port=6443 --service-cluster-ip-range="$SERVICES" \
  --client-ca-file="$keys/ca.crt" --tls-cert-file="$keys/apiserver.crt" --tls-private-key-file="$keys/apiserver.key" \
  --service-account-key-file="$keys/accounts.pub" --service-account-signing-key-file="$keys/accounts.key" \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
  --kubelet-client-certificate="$keys/kubelet-client.crt" --kubelet-client-key="$keys/kubelet-client.key" \
  --kubelet-preferred-address-types=InternalIP \
  --requestheader-client-ca-file="$keys/front-ca.crt" --requestheader-allowed-names=front-proxy \
  --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group \
  --requestheader-username-headers=X-Remote-User \
  --proxy-client-cert-file="$keys/front-client.crt" --proxy-client-key-file="$keys/front-client.key" \
  --enable-aggregator-routing=true >>"$logs/apiserver.log" 2>&1 &
answers "$KUBE" kubectl --kubeconfig "$keys/admin.kubeconfig" get --raw /readyz

# A lost node is noticed after 10 s and not after 50, and autoscalers look often: the tests wait for both.
"$KUBE" controller-manager --kubeconfig="$keys/controller-manager.kubeconfig" \
  --authentication-kubeconfig="$keys/controller-manager.kubeconfig" \
  --authorization-kubeconfig="$keys/controller-manager.kubeconfig" \
  --service-account-private-key-file="$keys/accounts.key" --root-ca-file="$keys/ca.crt" \
  --cluster-signing-cert-file="$keys/ca.crt" --cluster-signing-key-file="$keys/ca.key" \
  --use-service-account-credentials=true --leader-elect=false --bind-address=127.0.0.1 \
  --flex-volume-plugin-dir="$FOLDER/none" --node-monitor-grace-period=10s \
  --horizontal-pod-autoscaler-sync-period=5s --horizontal-pod-autoscaler-downscale-stabilization=10s \
  >>"$logs/controller-manager.log" 2>&1 &
"$KUBE" scheduler --kubeconfig="$keys/scheduler.kubeconfig" --authentication-kubeconfig="$keys/scheduler.kubeconfig" \
  --authorization-kubeconfig="$keys/scheduler.kubeconfig" --leader-elect=false --bind-address=127.0.0.1 \
  >>"$logs/scheduler.log" 2>&1 &

wait -n
echo "a part of the control plane ended with $?"
exit 1
