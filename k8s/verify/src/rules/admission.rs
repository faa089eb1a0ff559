//! Who is asked before an object is taken: webhooks and policies of admission.

use std::collections::BTreeSet;

use crate::rules::field::Field;
use crate::rules::text;
use crate::{Failure, World};

const GROUP: &str = "admissionregistration.k8s.io";

/// Says what is wrong with admission.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in world.objects.iter().filter(|object| object.group() == GROUP) {
        let root = Field::root(object);
        match object.kind.as_str() {
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => webhooks(&root, failures),
            "ValidatingAdmissionPolicy" => policy(&root.at("spec"), failures),
            _ => {}
        }
    }
}

fn webhooks(root: &Field<'_>, failures: &mut Vec<Failure>) {
    let mut names = BTreeSet::new();
    for hook in root.at("webhooks").list() {
        let name = hook.at("name");
        name.require(failures, "a name");
        if name.text().is_some_and(|name| name.split('.').count() < 3 || text::subdomain(name).is_some()) {
            name.fail(
                failures,
                format!("{} is no full name", name.quoted()),
                "a domain of three parts, as check.example.com",
            );
        }
        if name.text().is_some_and(|name| !names.insert(name)) {
            name.fail(failures, format!("{} is there twice", name.quoted()), "another name");
        }
        let client = hook.at("clientConfig");
        if client.at("service").is_said() == client.at("url").is_said() {
            client.fail(failures, "names two places or none", "service or url");
        }
        if client.at("service").is_said() {
            let service = client.at("service");
            service.at("name").require(failures, "a Service's name");
            service.at("namespace").require(failures, "the Service's namespace");
            service.at("port").between(failures, 1, 65_535);
            if service.at("path").text().is_some_and(|path| !path.starts_with('/')) {
                service.at("path").fail(
                    failures,
                    format!("{} is no path", service.at("path").quoted()),
                    "one that begins with '/'",
                );
            }
        }
        if client.at("url").text().is_some_and(|url| !url.starts_with("https://")) {
            client.at("url").fail(failures, format!("{} is no https", client.at("url").quoted()), "https://");
        }
        hook.at("sideEffects").require(failures, "None or NoneOnDryRun");
        hook.at("sideEffects").one_of(failures, &["None", "NoneOnDryRun"]);
        hook.at("admissionReviewVersions").require(failures, "[v1]");
        let mut versions = BTreeSet::new();
        for version in hook.at("admissionReviewVersions").list() {
            version.form(failures, text::old_label);
            if !versions.insert(version.text_or_empty()) {
                version.fail(failures, format!("{} is there twice", version.quoted()), "each version once");
            }
        }
        if !versions.is_empty() && !versions.contains("v1") && !versions.contains("v1beta1") {
            hook.at("admissionReviewVersions").fail(failures, "hold none that an API server sends", "[v1]");
        }
        hook.at("failurePolicy").one_of_said(failures, &["Ignore", "Fail"]);
        hook.at("matchPolicy").one_of(failures, &["Exact", "Equivalent"]);
        hook.at("timeoutSeconds").between(failures, 1, 30);
        rules(&hook.at("rules"), failures);
    }
}

fn rules(rules: &Field<'_>, failures: &mut Vec<Failure>) {
    for rule in rules.list() {
        for needed in ["operations", "apiGroups", "apiVersions", "resources"] {
            rule.at(needed).require(failures, "one at least");
        }
        for operation in rule.at("operations").list() {
            operation.one_of(failures, &["CREATE", "UPDATE", "DELETE", "CONNECT", "*"]);
        }
        rule.at("scope").one_of(failures, &["Cluster", "Namespaced", "*"]);
    }
}

fn policy(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    if spec.at("validations").is_empty() && spec.at("auditAnnotations").is_empty() {
        spec.fail(failures, "decides nothing", "validations or auditAnnotations");
    }
    spec.down("matchConstraints.resourceRules").require(failures, "what is judged");
    rules(&spec.down("matchConstraints.resourceRules"), failures);
    spec.at("failurePolicy").one_of(failures, &["Ignore", "Fail"]);
    for validation in spec.at("validations").list() {
        validation.at("expression").require(failures, "what must be true");
    }
}
