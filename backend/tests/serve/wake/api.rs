//! Kubernetes' API, as far as one scale goes, by TLS: it checks what a gate asks, and takes writes as it is told to.

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hold::Elastic;
use crate::kubernetes::{TOKEN, answers, is_from, status};
use crate::mesh::Mesh;

pub(super) const SCALE: &str = "/apis/apps/v1/namespaces/ml/deployments/forebay-backend/scale";

/// What is known of one Deployment, and what was asked of it.
pub(super) struct Scale {
    pub(super) replicas: u64,
    version: u64,
    pub(super) token: String,
    does: Does,
    pub(super) asked: Vec<(String, Value)>,
}

/// How the API takes a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    Write,
    Forbid,
    Hang,
    /// Another gate was faster.
    Lose,
    /// Somebody wrote something else meanwhile, once.
    Change,
}

/// The API.
pub(super) struct Api {
    port: u16,
    scale: Arc<Mutex<Scale>>,
    pub(super) folder: TempDir,
}

impl Api {
    pub(super) fn start(does: Does) -> Self {
        let scale = Scale { replicas: 0, version: 7, token: TOKEN.to_owned(), does, asked: Vec::new() };
        let scale = Arc::new(Mutex::new(scale));
        let kept = scale.clone();
        let (port, folder) = answers(move |head, body| kept.lock().unwrap().answer(head, body));
        Self { port, scale, folder }
    }

    pub(super) fn flags(&self) -> [String; 6] {
        let file = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        let url = format!("https://localhost:{}{SCALE}", self.port);
        let [scale, token, ca] = ["scale", "token-file", "ca-file"].map(|flag| format!("--hold-wake-{flag}"));
        [scale, url, token, file("token"), ca, file("ca.pem")]
    }

    /// A service at zero, whose gate asks this API.
    pub(super) fn elastic(&self) -> Elastic {
        Elastic::asleep(Mesh::redis(), &self.flags().each_ref().map(String::as_str))
    }

    pub(super) fn scale(&self) -> MutexGuard<'_, Scale> {
        self.scale.lock().unwrap()
    }

    pub(super) fn writes(&self) -> Vec<Value> {
        let scale = self.scale();
        scale.asked.iter().filter(|(method, _)| method == "PATCH").map(|(_, body)| body.clone()).collect()
    }
}

impl Scale {
    /// Status and object; none where it hangs.
    fn answer(&mut self, head: &[String], body: &[u8]) -> Option<(u16, Value)> {
        let (method, path) = head[0].rsplit_once(" HTTP").unwrap().0.split_once(' ').unwrap();
        assert_eq!(path, SCALE);
        let body = serde_json::from_slice(body).unwrap_or(Value::Null);
        self.asked.push((method.to_owned(), body.clone()));
        let is_known = is_from(head, &self.token);
        Some(match (method, self.does) {
            (_, Does::Hang) => return None,
            _ if !is_known => (401, status("Unauthorized")),
            ("GET", _) => (200, self.object()),
            (_, Does::Forbid) => (403, status("User \"gate\" cannot patch resource \"deployments/scale\"")),
            (_, Does::Lose | Does::Change) => {
                self.version += 1;
                self.replicas = u64::from(self.does == Does::Lose);
                self.does = Does::Write;
                (409, status("the object has been modified"))
            }
            (_, Does::Write) => {
                assert!(head.contains(&"content-type: application/merge-patch+json".to_owned()), "{head:?}");
                assert_eq!(body["metadata"]["resourceVersion"], self.version.to_string());
                self.version += 1;
                self.replicas = body["spec"]["replicas"].as_u64().unwrap();
                (200, self.object())
            }
        })
    }

    /// As the API writes it: 0 is left out.
    fn object(&self) -> Value {
        let spec = if self.replicas == 0 { json!({}) } else { json!({ "replicas": self.replicas }) };
        json!({ "kind": "Scale", "metadata": { "resourceVersion": self.version.to_string() }, "spec": spec })
    }
}
