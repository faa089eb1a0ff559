//! Numbers that are each right and don't fit each other.

use super::all_are_caught;

#[test]
fn numbers_that_do_not_fit_each_other_are_caught() {
    all_are_caught(&[
        (
            "requests.nvidia.com/gpu: 16",
            "requests.nvidia.com/gpu: 9",
            "Deployment/ml/web: spec.strategy.rollingUpdate.maxSurge",
        ),
        (
            "sizeLimit: 64Mi",
            "sizeLimit: 2Gi",
            "Deployment/ml/web: spec.template.spec.volumes[2].emptyDir.sizeLimit",
        ),
        (
            "resources: {requests: {storage: 20Gi}}",
            "resources: {requests: {storage: 30Gi}}",
            "PersistentVolumeClaim/ml/models: spec.resources.requests.storage",
        ),
        (
            "  accessModes: [ReadOnlyMany]\n  capacity",
            "  accessModes: [ReadWriteOnce]\n  capacity",
            "PersistentVolumeClaim/ml/models: spec.accessModes[0]",
        ),
        (
            "terminationGracePeriodSeconds: 40",
            "terminationGracePeriodSeconds: 0",
            "Deployment/ml/web: spec.template.spec.terminationGracePeriodSeconds",
        ),
        (
            "  minReadySeconds: 8\n",
            "  replicas: 3\n  minReadySeconds: 8\n",
            "Deployment/ml/web: spec.replicas",
        ),
        ("minAvailable: 2", "minAvailable: 3", "PodDisruptionBudget/ml/web: spec.minAvailable"),
        ("minAvailable: 2", "minAvailable: 100%", "PodDisruptionBudget/ml/web: spec.minAvailable"),
        ("minAvailable: 2", "maxUnavailable: 0", "PodDisruptionBudget/ml/web: spec.maxUnavailable"),
        ("minReplicas: 3", "minReplicas: 2", "PodDisruptionBudget/ml/web: spec.minAvailable"),
        (
            "terminationGracePeriodSeconds: 40",
            "terminationGracePeriodSeconds: 30",
            "Deployment/ml/web: spec.template.spec.containers[0].args[3]",
        ),
        (
            "--exit-timeout-secs=30",
            "--exit-timeout-secs=36",
            "Deployment/ml/web: spec.template.spec.containers[0].args[3]",
        ),
        (
            "preStop: {sleep: {seconds: 5}}",
            "preStop: {sleep: {seconds: 15}}",
            "Deployment/ml/web: spec.template.spec.containers[0].args[3]",
        ),
        (
            "livenessProbe: {tcpSocket: {port: redis}}",
            "lifecycle: {preStop: {exec: {command: [sh, -c, sleep 30]}}}",
            "StatefulSet/ml/web-cache: spec.template.spec.containers[0].lifecycle.preStop",
        ),
        (
            "successThreshold: 1\n",
            "terminationGracePeriodSeconds: 10\n",
            "Deployment/ml/web: spec.template.spec.containers[0].livenessProbe.terminationGracePeriodSeconds",
        ),
        ("failureThreshold: 90", "failureThreshold: 300", "Deployment/ml/web: spec.progressDeadlineSeconds"),
        (
            "progressDeadlineSeconds: 600",
            "progressDeadlineSeconds: 60",
            "Deployment/ml/web: spec.progressDeadlineSeconds",
        ),
        (
            "activeDeadlineSeconds: 600",
            "activeDeadlineSeconds: 3600",
            "CronJob/ml/sweep: spec.jobTemplate.spec.activeDeadlineSeconds",
        ),
        (
            "startingDeadlineSeconds: 60",
            "startingDeadlineSeconds: 5",
            "CronJob/ml/sweep: spec.startingDeadlineSeconds",
        ),
        (
            "limits: {cpu: \"1\", memory: 1Gi,",
            "limits: {cpu: \"1\", memory: 16Gi,",
            "Deployment/ml/web: spec.template.spec.containers[0].resources.limits.memory",
        ),
        (
            "requests.nvidia.com/gpu: 16",
            "requests.nvidia.com/gpu: 2",
            "ResourceQuota/ml/ml: spec.hard[requests.nvidia.com/gpu]",
        ),
        ("pods: 60", "pods: 3", "ResourceQuota/ml/ml: spec.hard.pods"),
        (
            "  accessModes: [ReadOnlyMany]\n  storageClassName: fast\n  volumeName",
            "  accessModes: [ReadWriteOncePod]\n  storageClassName: fast\n  volumeName",
            "Deployment/ml/web: spec.template.spec.volumes[0].persistentVolumeClaim.claimName",
        ),
        (
            "  accessModes: [ReadOnlyMany]\n  storageClassName: fast\n  volumeName",
            "  accessModes: [ReadWriteOnce]\n  storageClassName: fast\n  volumeName",
            "Deployment/ml/web: spec.template.spec.volumes[0].persistentVolumeClaim.claimName",
        ),
        (
            "{maxSurge: 1, maxUnavailable: 0}",
            "{maxSurge: 0, maxUnavailable: 100%}",
            "Deployment/ml/web: spec.strategy.rollingUpdate.maxUnavailable",
        ),
        (
            "            periodSeconds: 2\n            failureThreshold: 90\n          readinessProbe:",
            "            periodSeconds: 2\n            failureThreshold: 90\n          readinessProbe:\n            initialDelaySeconds: 500",
            "Deployment/ml/web: spec.progressDeadlineSeconds",
        ),
    ]);
}
