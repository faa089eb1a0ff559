//! Stage and prod as their values have them: volumes, certificates, a Redis with TLS and a password, and GPUs that are only said to be there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::bed::{Bed, MODEL, RELEASE, SMALL};
use super::dry_run::{give_gpus, install_kinds};
use super::images::MODELS;
use super::install::namespace;
use crate::cluster::keys;

/// # Errors
/// One does not install, or its test fails.
pub(super) fn all(bed: &Bed<'_>) -> Result<String> {
    // Prod has monitors, and wants GPUs.
    install_kinds(bed)?;
    give_gpus(bed)?;
    let mut found = Vec::new();
    for environment in ["stage", "prod"] {
        let ready = one(bed, environment).with_context(|| environment.to_owned())?;
        found.push(format!("{environment}: {ready} pods ready"));
    }
    Ok(found.join(", "))
}

fn one(bed: &Bed<'_>, environment: &str) -> Result<usize> {
    prepare(bed, environment)?;
    let own = format!("forebay-{environment}");
    // A machine of two processors has neither prod's memory nor its processors; all else is prod's own.
    let small = "--set backend.resources.requests.memory=64Mi --set backend.resources.limits.memory=512Mi";
    let chart = bed.chart();
    let chart = chart.display();
    bed.helm(&format!(
        "upgrade --install {RELEASE} {chart} --namespace {own} --values {chart}/values-{environment}.yaml {small} {SMALL} \
         --set test.model={MODEL} --wait --timeout 240s"
    ))?;
    let said = bed.helm(&format!("test {RELEASE} --namespace {own} --timeout 120s"))?;
    ensure!(said.contains("Succeeded"), "helm test ran nothing:\n{said}");
    let pods = bed.kube.json(&format!("--namespace {own} get pods --field-selector status.phase=Running"))?;
    // What comes next needs the memory.
    bed.helm(&format!("uninstall {RELEASE} --namespace {own} --wait"))?;
    remove(bed, environment)?;
    Ok(pods["items"].as_array().map_or(0, Vec::len))
}

/// Makes what an environment is given and does not make itself: its namespace `forebay-ENV` with secrets and claims, and a Redis.
///
/// # Errors
/// The server refuses one.
pub(super) fn prepare(bed: &Bed<'_>, environment: &str) -> Result<()> {
    let place = bed.place.as_ref().context("volumes are folders of ours")?;
    let folder = place.instance.folder.join("environments").join(environment);
    let own = format!("forebay-{environment}");
    namespace(bed, &own)?;
    namespace(bed, environment)?;
    let services = ["backend", "backend-headless", "gate", "front"].map(|name| format!("{RELEASE}-{name}"));
    let mut names = vec![format!("redis.{environment}.svc")];
    for service in services {
        names.extend([service.clone(), format!("{service}.{own}"), format!("{service}.{own}.svc")]);
    }
    keys::server(&folder.join("keys"), &names, &place.parts.tools)?;
    secrets(bed, &folder.join("keys"), &own, environment)?;
    bed.kube.apply(&REDIS.replace("@NAMESPACE@", environment))?;
    bed.kube.run(&format!("--namespace {environment} rollout status deployment/redis --timeout=60s"))?;
    for claim in ["models", "engines"] {
        volume(bed, &folder, &own, environment, claim)?;
    }
    Ok(())
}

/// Takes it away again, with all that was put there.
///
/// # Errors
/// The server refuses.
pub(super) fn remove(bed: &Bed<'_>, environment: &str) -> Result<()> {
    bed.kube.run(&format!("delete namespace forebay-{environment} {environment}"))?;
    bed.kube.run(&format!("delete persistentvolume {environment}-models {environment}-engines")).map(drop)
}

fn secrets(bed: &Bed<'_>, keys: &Path, own: &str, environment: &str) -> Result<()> {
    let keys = keys.display();
    let tls = format!("--from-file {keys}/tls.crt --from-file {keys}/tls.key --from-file {keys}/ca.crt");
    let password = "--from-literal password=of-a-test-alone";
    bed.kube.run(&format!(
        "--namespace {own} create secret generic forebay-tls --type kubernetes.io/tls {tls}"
    ))?;
    bed.kube.run(&format!(
        "--namespace {own} create secret generic forebay-redis {password} --from-file {keys}/ca.crt"
    ))?;
    bed.kube.run(&format!("--namespace {environment} create secret generic redis {password} {tls}"))?;
    Ok(())
}

/// A volume of this machine, which both nodes see, and its claim.
///
/// # Errors
/// The server refuses.
pub(super) fn volume(bed: &Bed<'_>, folder: &Path, own: &str, environment: &str, claim: &str) -> Result<()> {
    let path: PathBuf = folder.join(claim);
    let inside = path.join(claim);
    fs::create_dir_all(&inside)?;
    if claim == "models" {
        for model in MODELS {
            let mut copy = crate::command::command("cp", ["-rL"]);
            copy.arg(bed.images.repository.join(model)).arg(&inside);
            crate::command::output(copy)?;
        }
    } else {
        // hostPath takes no fsGroup.
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o777))?;
    }
    bed.kube.apply(&format!(
        "apiVersion: v1\nkind: PersistentVolume\nmetadata:\n  name: {environment}-{claim}\nspec:\n  \
         capacity:\n    storage: 1Gi\n  accessModes: [ReadWriteMany]\n  storageClassName: \"\"\n  \
         hostPath:\n    path: {}\n  claimRef:\n    namespace: {own}\n    name: forebay-{claim}\n---\n\
         apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n  name: forebay-{claim}\n  namespace: {own}\nspec:\n  \
         accessModes: [ReadWriteMany]\n  storageClassName: \"\"\n  volumeName: {environment}-{claim}\n  \
         resources:\n    requests:\n      storage: 1Gi\n",
        path.display()
    ))
}

/// A Redis as a cloud has it: TLS alone, and a password.
const REDIS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: redis
  namespace: @NAMESPACE@
spec:
  selector:
    matchLabels:
      app: redis
  template:
    metadata:
      labels:
        app: redis
    spec:
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        fsGroup: 65532
        seccompProfile:
          type: RuntimeDefault
      containers:
        - name: redis
          image: redis:7.4
          command: [redis-server, --port, "0", --tls-port, "6379", --tls-cert-file, /secrets/tls.crt, --tls-key-file, /secrets/tls.key,
            --tls-ca-cert-file, /secrets/ca.crt, --tls-auth-clients, "no", --requirepass, $(PASSWORD), --save, ""]
          env:
            - name: PASSWORD
              valueFrom:
                secretKeyRef:
                  name: redis
                  key: password
          readinessProbe:
            tcpSocket:
              port: 6379
            periodSeconds: 1
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop: [ALL]
          volumeMounts:
            - name: secrets
              mountPath: /secrets
              readOnly: true
      volumes:
        - name: secrets
          secret:
            secretName: redis
            defaultMode: 0440
---
apiVersion: v1
kind: Service
metadata:
  name: redis
  namespace: @NAMESPACE@
spec:
  selector:
    app: redis
  ports:
    - port: 6379
"#;
