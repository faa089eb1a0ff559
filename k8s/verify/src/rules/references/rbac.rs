//! Who may do what: bindings to roles and accounts.

use crate::Failure;
use crate::rules::field::Field;
use crate::rules::known::Known;

use super::pods::pull;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn check(known: &Known<'_>, failures: &mut Vec<Failure>) {
    for object in &known.world.objects {
        let root = Field::root(object);
        let own = object.namespace.as_deref();
        match (object.group(), object.kind.as_str()) {
            (GROUP, "RoleBinding" | "ClusterRoleBinding") => {
                let role = root.at("roleRef");
                let kind = role.at("kind").text_or_empty();
                if matches!(kind, "Role" | "ClusterRole") {
                    known.need(kind, &role.at("name"), own.filter(|_| kind == "Role"), failures);
                }
                for subject in root.at("subjects").list() {
                    if subject.at("kind").text() == Some("ServiceAccount") {
                        let namespace = subject.at("namespace").text().or(own);
                        // Controllers of the cluster have accounts that it makes.
                        if namespace != Some("kube-system") {
                            known.need("ServiceAccount", &subject.at("name"), namespace, failures);
                        }
                    }
                }
            }
            ("", "ServiceAccount") => {
                for secret in root.at("secrets").list() {
                    known.need("Secret", &secret.at("name"), own, failures);
                }
                for secret in root.at("imagePullSecrets").list() {
                    pull(known, &secret.at("name"), own, failures);
                }
            }
            ("", "Secret") if root.at("type").text() == Some("kubernetes.io/service-account-token") => {
                let account = root.at("metadata").at("annotations").at("kubernetes.io/service-account.name");
                known.need("ServiceAccount", &account, own, failures);
            }
            ("", "PersistentVolumeClaim") => {
                known.need("StorageClass", &root.down("spec.storageClassName"), None, failures);
                known.need("PersistentVolume", &root.down("spec.volumeName"), None, failures);
            }
            ("apps", "StatefulSet") => {
                for template in root.down("spec.volumeClaimTemplates").list() {
                    known.need("StorageClass", &template.down("spec.storageClassName"), None, failures);
                }
            }
            _ => {}
        }
    }
}
