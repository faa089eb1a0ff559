//! How an Application of Argo CD's stands: the object enters, with what it is to be at; what is to be done about it leaves.

use serde_json::{Value, json};

/// What an Application is to be at.
pub(super) struct Wanted<'a> {
    /// The revision that its own line names.
    pub(super) line: &'a str,
    /// Is what it was compared with, a commit, that revision?
    pub(super) is: &'a dyn Fn(&str) -> bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Git has more than Argo CD has read.
    Unread,
    /// An operation of another revision goes on; the next one waits for its end, which may never come.
    Held(String),
    /// An operation of the wanted one goes on.
    Syncing,
    /// It differs from what is wanted, and nobody syncs it.
    Differs,
    /// The last sync of the wanted revision failed, for that reason.
    Failed(String),
    /// All is applied; not all is healthy.
    Unwell(String),
    /// All is applied; a Deployment is paused, so that it stays as it was.
    Paused,
    /// It is there. What a newer revision brought may be left over where prune is off.
    There { left: Vec<String> },
}

pub(super) fn standing(application: &Value, wanted: &Wanted<'_>) -> Standing {
    let (spec, status) = (&application["spec"], &application["status"]);
    if spec["source"]["targetRevision"] != wanted.line {
        return Standing::Unread;
    }
    let last = &status["operationState"];
    let going =
        !application["operation"].is_null() || matches!(word(&last["phase"]), "Running" | "Terminating");
    if going {
        return match of_operation(application) {
            Some(revision) if !(wanted.is)(revision) && last["phase"] != "Terminating" => {
                Standing::Held(revision.to_owned())
            }
            _ => Standing::Syncing,
        };
    }
    let sync = &status["sync"];
    let compared = &sync["comparedTo"]["source"];
    // Not the whole source: Argo CD writes an empty part or two more than it was given.
    let same = ["targetRevision", "path"].iter().all(|key| compared[key] == spec["source"][key]);
    // Unknown: it could not be compared, and its conditions say why.
    if !same || !(wanted.is)(word(&sync["revision"])) || sync["status"] == "Unknown" {
        return Standing::Unread;
    }
    let all = status["resources"].as_array().into_iter().flatten();
    let differ: Vec<&Value> = all.filter(|one| one["status"] == "OutOfSync").collect();
    if sync["status"] != "Synced" && !differ.iter().all(|one| one["requiresPruning"] == true) {
        let failed = matches!(word(&last["phase"]), "Failed" | "Error");
        let of_this = of_operation(application).is_some_and(|revision| (wanted.is)(revision));
        return if failed && of_this {
            Standing::Failed(word(&last["message"]).to_owned())
        } else {
            Standing::Differs
        };
    }
    match word(&status["health"]["status"]) {
        "Healthy" => Standing::There { left: differ.into_iter().map(name).collect() },
        "Suspended" => Standing::Paused,
        other => Standing::Unwell(other.to_owned()),
    }
}

/// The commit that the operation that goes on, or else the last one, syncs.
fn of_operation(application: &Value) -> Option<&str> {
    let last = &application["status"]["operationState"];
    let places = [
        &application["operation"]["sync"]["revision"],
        &last["operation"]["sync"]["revision"],
        &last["syncResult"]["revision"],
    ];
    // One that is tried again with what is newest names none until it has it.
    places.into_iter().filter_map(Value::as_str).find(|revision| !revision.is_empty())
}

/// Does Argo CD sync it by itself?
pub(super) fn is_automated(application: &Value) -> bool {
    let automated = &application["spec"]["syncPolicy"]["automated"];
    !automated.is_null() && automated["enabled"] != false
}

/// The patch that asks for a sync of what it was compared with, as Argo CD's own sync of itself would be.
pub(super) fn asked(application: &Value) -> Value {
    let policy = &application["spec"]["syncPolicy"];
    let mut operation = json!({
        "initiatedBy": { "username": "forebay-release" },
        "sync": {
            "revision": application["status"]["sync"]["revision"],
            "prune": policy["automated"]["prune"] == true,
        },
    });
    for (key, at) in [("syncOptions", "/sync"), ("retry", "")] {
        if let (Some(into), false) = (operation.pointer_mut(at), policy[key].is_null()) {
            into[key] = policy[key].clone();
        }
    }
    json!({ "operation": operation })
}

/// What Argo CD says that is wrong, in a line.
pub(super) fn complaints(application: &Value) -> String {
    let all = application["status"]["conditions"].as_array().into_iter().flatten();
    let all = all.filter(|one| word(&one["type"]).ends_with("Error"));
    let said: Vec<&str> = all.map(|one| word(&one["message"])).collect();
    said.join("; ")
}

fn name(resource: &Value) -> String {
    format!("{}/{}", word(&resource["kind"]).to_lowercase(), word(&resource["name"]))
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(line: &str) -> Value {
        json!({ "repoURL": "r", "path": "p", "targetRevision": line })
    }

    /// At v1, synced and healthy, by an operation of commit 1.
    fn there() -> Value {
        json!({
            "spec": { "source": source("v1"), "syncPolicy": { "automated": {}, "syncOptions": ["A=b"], "retry": { "limit": 5 } } },
            "status": {
                "sync": { "status": "Synced", "revision": "1", "comparedTo": { "source": source("v1") } },
                "health": { "status": "Healthy" },
                "operationState": { "phase": "Succeeded", "operation": { "sync": { "revision": "1" } } },
            },
        })
    }

    fn of(change: impl FnOnce(&mut Value)) -> Standing {
        let mut application = there();
        change(&mut application);
        standing(&application, &Wanted { line: "v1", is: &|revision| revision == "1" })
    }

    #[test]
    fn one_that_is_synced_and_healthy_at_the_wanted_revision_is_there() {
        assert_eq!(of(|_| {}), Standing::There { left: Vec::new() });
    }

    #[test]
    fn what_was_compared_with_another_revision_says_nothing_of_this_one() {
        assert_eq!(of(|it| it["spec"]["source"] = source("v2")), Standing::Unread, "its line is another");
        assert_eq!(of(|it| it["status"]["sync"]["comparedTo"]["source"] = source("v2")), Standing::Unread);
        assert_eq!(of(|it| it["status"]["sync"]["revision"] = json!("2")), Standing::Unread);
        assert_eq!(of(|it| it["status"] = Value::Null), Standing::Unread, "it is new");
        assert_eq!(of(|it| it["status"]["sync"]["status"] = json!("Unknown")), Standing::Unread);
    }

    #[test]
    fn an_operation_of_another_revision_holds_it_until_it_is_told_to_end() {
        let other = |phase: &str| json!({ "phase": phase, "operation": { "sync": { "revision": "2" } } });
        assert_eq!(
            of(|it| it["status"]["operationState"] = other("Running")),
            Standing::Held("2".to_owned())
        );
        assert_eq!(of(|it| it["status"]["operationState"] = other("Terminating")), Standing::Syncing);
        assert_eq!(of(|it| it["operation"] = json!({ "sync": { "revision": "1" } })), Standing::Syncing);
        assert_eq!(
            of(|it| it["status"]["operationState"] =
                json!({ "phase": "Running", "operation": { "sync": {} } })),
            Standing::Syncing
        );
    }

    #[test]
    fn what_differs_is_to_be_synced_and_what_failed_is_told_if_it_was_this_revision() {
        let differs = |it: &mut Value| {
            it["status"]["sync"]["status"] = json!("OutOfSync");
            it["status"]["resources"] = json!([{ "kind": "Service", "name": "a", "status": "OutOfSync" }]);
        };
        assert_eq!(of(differs), Standing::Differs);
        let failed = |revision: &'static str| {
            move |it: &mut Value| {
                differs(it);
                it["status"]["operationState"] =
                    json!({ "phase": "Failed", "message": "m", "syncResult": { "revision": revision } });
            }
        };
        assert_eq!(of(failed("1")), Standing::Failed("m".to_owned()));
        assert_eq!(of(failed("2")), Standing::Differs);
    }

    #[test]
    fn what_a_newer_one_brought_may_stay_where_nothing_is_pruned() {
        let left = of(|it| {
            it["status"]["sync"]["status"] = json!("OutOfSync");
            it["status"]["resources"] = json!([
                { "kind": "Service", "name": "a", "status": "Synced" },
                { "kind": "ConfigMap", "name": "b", "status": "OutOfSync", "requiresPruning": true },
            ]);
        });
        assert_eq!(left, Standing::There { left: vec!["configmap/b".to_owned()] });
    }

    #[test]
    fn a_deployment_that_is_paused_is_told_from_one_that_is_not_ready_yet() {
        assert_eq!(of(|it| it["status"]["health"]["status"] = json!("Suspended")), Standing::Paused);
        let unwell = of(|it| it["status"]["health"]["status"] = json!("Degraded"));
        assert_eq!(unwell, Standing::Unwell("Degraded".to_owned()));
    }

    #[test]
    fn a_sync_is_asked_for_as_its_own_would_be() {
        let operation = &asked(&there())["operation"];
        let sync = json!({ "revision": "1", "prune": false, "syncOptions": ["A=b"] });
        assert_eq!((&operation["sync"], &operation["retry"]), (&sync, &json!({ "limit": 5 })));
        let mut off = there();
        assert!(is_automated(&off));
        off["spec"]["syncPolicy"]["automated"]["enabled"] = json!(false);
        assert!(!is_automated(&off));
    }
}
