//! What a pod says beside its containers: names it goes by, DNS, host aliases, ends.

use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::rules::text;
use crate::{Failure, World};

/// Says what is wrong with pods.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for pod in Pod::whole(world) {
        let spec = &pod.spec;
        spec.at("serviceAccountName").form(failures, text::subdomain);
        spec.at("priorityClassName").form(failures, text::subdomain);
        spec.at("runtimeClassName").form(failures, text::subdomain);
        spec.at("nodeName").form(failures, text::subdomain);
        spec.at("hostname").form(failures, text::label);
        spec.at("subdomain").form(failures, text::label);
        spec.at("restartPolicy").one_of(failures, &["Always", "OnFailure", "Never"]);
        spec.at("preemptionPolicy").one_of(failures, &["PreemptLowerPriority", "Never"]);
        spec.at("activeDeadlineSeconds").between(failures, 1, i64::from(i32::MAX));
        let grace = spec.at("terminationGracePeriodSeconds");
        grace.between(failures, 0, i64::MAX);
        let old = spec.at("serviceAccount");
        let new = spec.at("serviceAccountName");
        if old.text().is_some() && new.text().is_some() && old.text() != new.text() {
            old.fail(
                failures,
                format!("{} differs from serviceAccountName", old.quoted()),
                "serviceAccountName alone",
            );
        }
        dns(spec, failures);
        for alias in spec.at("hostAliases").list() {
            alias.at("ip").require(failures, "an address");
            alias.at("ip").form(failures, text::address);
            for host in alias.at("hostnames").list() {
                host.form(failures, text::subdomain);
            }
        }
        for claim in spec.at("resourceClaims").list() {
            claim.at("name").require(failures, "the claim's name in the pod");
            claim.at("name").form(failures, text::label);
            let both = ["resourceClaimName", "resourceClaimTemplateName"].map(|of| claim.at(of).is_said());
            if both[0] == both[1] {
                claim.fail(
                    failures,
                    "names two claims or none",
                    "resourceClaimName or resourceClaimTemplateName",
                );
            }
        }
        for secret in spec.at("imagePullSecrets").list() {
            secret.at("name").require(failures, "the name of a Secret");
        }
        if pod.object.kind == "Pod" && spec.at("serviceAccountName").text().is_none() {
            for source in spec
                .at("volumes")
                .list()
                .iter()
                .flat_map(|volume| volume.at("projected").at("sources").list())
            {
                if source.at("serviceAccountToken").is_said() {
                    source.at("serviceAccountToken").fail(failures, "is nobody's", "spec.serviceAccountName");
                }
            }
        }
    }
}

fn dns(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let (policy, config) = (spec.at("dnsPolicy"), spec.at("dnsConfig"));
    policy.one_of(failures, &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]);
    let servers = config.at("nameservers");
    if policy.text() == Some("None") && servers.is_empty() {
        servers.fail(failures, "dnsPolicy None knows no server", "one address at least");
    }
    if servers.list().len() > 3 {
        servers.fail(failures, format!("are {}", servers.list().len()), "3 at most");
    }
    for server in servers.list() {
        server.form(failures, text::address);
    }
    let searches = config.at("searches").list();
    if searches.len() > 32 {
        config.at("searches").fail(failures, format!("are {}", searches.len()), "32 at most");
    }
    for search in config.at("searches").list() {
        search.form(failures, |text| text::subdomain(&text.trim_end_matches('.').replace('_', "-")));
    }
    for option in config.at("options").list() {
        option.at("name").require(failures, "an option's name");
    }
    if spec.at("hostNetwork").is_true() && policy.text() == Some("ClusterFirst") {
        // The kubelet falls back to the host's servers without a word.
        policy.fail(
            failures,
            "means the host's own DNS on the host's network",
            "ClusterFirstWithHostNet, or Default",
        );
    }
}
