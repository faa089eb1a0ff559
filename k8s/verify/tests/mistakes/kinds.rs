//! Mistakes in what extends a cluster: definitions, policies of admission, endpoints written by hand.

use super::all_are_caught;

#[test]
fn mistakes_in_definitions_policies_and_endpoints_are_caught() {
    all_are_caught(&[
        (
            "name: pools.example.com",
            "name: pool.example.com",
            "CustomResourceDefinition/pool.example.com: metadata.name",
        ),
        (
            "      storage: true",
            "      storage: false",
            "CustomResourceDefinition/pools.example.com: spec.versions",
        ),
        ("scope: Namespaced", "scope: Namespace", "CustomResourceDefinition/pools.example.com: spec.scope"),
        (
            "size: {type: integer}",
            "size: {type: int}",
            "CustomResourceDefinition/pools.example.com: spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.size.type",
        ),
        (
            "self.size > 0",
            "self.size >",
            "CustomResourceDefinition/pools.example.com: spec.versions[0].schema.openAPIV3Schema.properties.spec.x-kubernetes-validations[0].rule",
        ),
        (
            "object.spec.replicas <= variables.most &&",
            "object.spec.replicas <= &&",
            "ValidatingAdmissionPolicy/few: spec.validations[0].expression",
        ),
        (
            "object.spec.replicas <= variables.most &&",
            "obj.spec.replicas <= variables.most &&",
            "ValidatingAdmissionPolicy/few: spec.validations[0].expression",
        ),
        (
            "resources: [statefulsets]",
            "resources: [StatefulSet]",
            "ValidatingAdmissionPolicy/few: spec.matchConstraints.resourceRules[0].resources[0]",
        ),
        (
            "validationActions: [Deny]",
            "validationActions: [Refuse]",
            "ValidatingAdmissionPolicyBinding/few: spec.validationActions[0]",
        ),
        ("policyName: few", "policyName: many", "ValidatingAdmissionPolicyBinding/few: spec.policyName"),
        ("addressType: IPv4", "addressType: IPV4", "EndpointSlice/ml/outside-1: addressType"),
        ("[10.0.0.9]", "[\"fd00::1\"]", "EndpointSlice/ml/outside-1: endpoints[0].addresses[0]"),
        ("[10.0.0.9]", "[api.example.com]", "EndpointSlice/ml/outside-1: endpoints[0].addresses[0]"),
        (
            "service-name: outside}",
            "service-name: outsides}",
            "EndpointSlice/ml/outside-1: metadata.labels[kubernetes.io/service-name]",
        ),
        (
            "ports: [{name: api, port: 4443}]\nend",
            "ports: [{name: apis, port: 4443}]\nend",
            "EndpointSlice/ml/outside-1: ports[0].name",
        ),
    ]);
}
