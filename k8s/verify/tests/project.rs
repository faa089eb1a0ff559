//! The project's own chart, overlays and Applications: nothing is wrong in them, and a mistake in one of their files is found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use forebay_verify::outsiders::Outsiders;
use forebay_verify::project::Project;
use forebay_verify::{Failure, Tools, World};
use walkdir::WalkDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the checkout")
}

/// Schemas and programs that `cargo xtask verify-k8s` sets up.
fn base() -> World {
    let installed = std::env::var_os("FOREBAY_DIR").map_or_else(|| root().join(".forebay"), PathBuf::from);
    let tools = Tools::of(&installed.join("bin"));
    assert!(
        tools.helm3.is_some() && tools.helm4.is_some() && tools.kustomize.is_some(),
        "run `cargo xtask verify-k8s` once: it sets up what is asked"
    );
    let mut world = World { tools, ..World::default() };
    world.schemas.read_kubernetes(&installed.join("kubernetes-schemas")).expect("set-up");
    world.read_crds(&root().join("k8s/crds")).expect("k8s/crds");
    world
}

fn judged(root: &Path, base: &World) -> Vec<Failure> {
    let renders = tempfile::tempdir().expect("a folder");
    let project = Project { root, renders: renders.path().to_owned(), base, write_golden: false };
    project.judge().expect("the project is read")
}

#[test]
fn nothing_is_wrong_in_what_we_deploy() {
    let lines: Vec<String> = judged(&root(), &base()).iter().map(Failure::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

/// What dev is of.
const DEV: &[&str] =
    &["charts", "base", "components", "overlays/dev", "golden/helm-dev.yaml", "drift.yaml", "outsiders.yaml"];
/// What options are of.
const OPTIONS: &[&str] = &[
    "charts",
    "base",
    "components",
    "overlays/stage",
    "options",
    "golden/helm-stage.yaml",
    "golden/helm-external-metrics.yaml",
    "golden/helm-key-traces.yaml",
    "golden/helm-on-demand.yaml",
    "golden/helm-optimize.yaml",
    "golden/helm-records.yaml",
    "golden/helm-scaling-hpa.yaml",
    "golden/helm-scaling-keda.yaml",
    "golden/helm-scaling-kserve.yaml",
    "golden/helm-upstream.yaml",
    "drift.yaml",
    "outsiders.yaml",
];
/// Alerts and their tests.
const WATCHING: &[&str] = &["charts/forebay/rules", "charts/forebay/Chart.yaml", "monitoring/tests"];

/// A copy of parts of `k8s/`, with no environment but one.
fn copy(parts: &[&str], environment: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    let k8s = root().join("k8s");
    for part in parts {
        for entry in
            WalkDir::new(k8s.join(part)).into_iter().flatten().filter(|entry| entry.file_type().is_file())
        {
            let to = copy.path().join("k8s").join(entry.path().strip_prefix(&k8s).expect("inside"));
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            fs::copy(entry.path(), to).expect("copied");
        }
    }
    for other in ["dev", "stage", "prod"].into_iter().filter(|other| *other != environment) {
        let _ = fs::remove_file(copy.path().join(format!("k8s/charts/forebay/values-{other}.yaml")));
    }
    copy
}

/// Changes a file and gives what is said then.
fn changed(base: &World, parts: &[&str], file: &str, change: impl Fn(&str) -> String) -> String {
    let copy = copy(parts, "dev");
    change_in(&copy, file, change);
    said(&copy, base)
}

fn change_in(copy: &tempfile::TempDir, file: &str, change: impl Fn(&str) -> String) {
    let path = copy.path().join("k8s").join(file);
    let text = fs::read_to_string(&path).expect("the file");
    let new = change(&text);
    assert_ne!(text, new, "nothing changes in {file}");
    fs::write(&path, new).expect("written");
}

fn said(copy: &tempfile::TempDir, base: &World) -> String {
    judged(copy.path(), base).iter().map(Failure::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_mistake_in_any_file_of_ours_is_found() {
    let base = base();
    let says = |file: &str, change: &dyn Fn(&str) -> String, expected: &[&str]| {
        let said = changed(&base, DEV, file, change);
        for expected in expected {
            assert!(said.contains(expected), "{file}: {expected} is not in:\n{said}");
        }
    };
    says(
        "charts/forebay/values-dev.yaml",
        &|text| format!("{text}\nnobody-reads-this: 1\n"),
        &["Helm 3 refuses the chart", "Helm 4 refuses the chart", "nobody-reads-this"],
    );
    for (change, expected) in [
        (
            "      lb_policy: RING_HASH\n",
            "static_resources.clusters[0].lb_policy: does not choose by `x-forebay-hash`",
        ),
        ("header_name: x-forebay-hash", "backends.hash is true, and no route has a hash_policy"),
    ] {
        says(
            "charts/forebay/files/envoy.yaml",
            &|text| {
                text.replacen(change, &change.replace("RING_HASH", "RANDOM").replace("-hash", "-hush"), 1)
            },
            &[expected],
        );
    }
    says(
        "charts/forebay/templates/_front.tpl",
        &|text| text.replace("\"cluster\" \"forebay-backend\"", "\"cluster\" \"forebay-backends\""),
        &["refresh.cluster: there is no cluster `forebay-backends`"],
    );
    says(
        "base/backend/service.yaml",
        &|text| text.replacen("name: http", "name: htpp", 1),
        &["Service/forebay-dev/forebay-backend: spec.ports", "chart and overlay differ"],
    );
    says(
        "charts/forebay/templates/backend/service.yaml",
        &|text| text.replacen("kind: Service", "kind: Servise", 1),
        &["perhaps `Service`", "the chart renders"],
    );
    says(
        "overlays/dev/kustomization.yaml",
        &|text| format!("{text}\nresource: [a.yaml]\n"),
        &["Kustomize refuses the overlay"],
    );
    says(
        "drift.yaml",
        &|text| {
            format!("{text}\n- {{ kind: Service, name: forebay-gone, path: /, why: it was here once }}\n")
        },
        &["Service/forebay-gone: /: chart and overlays don't differ here in any environment"],
    );
    says("golden/helm-dev.yaml", &|text| text.replacen("8000", "8800", 1), &["if it is meant"]);
}

#[test]
fn mistakes_in_what_is_off_until_it_is_wanted_are_found() {
    let (base, values) = (base(), copy(OPTIONS, "stage"));
    change_in(&values, "options/optimize/values.yaml", |text| {
        text.replace("  model: vad", "  model: other\n  timeSecs: 1700")
    });
    change_in(&values, "options/records/values.yaml", |text| text.replace("enabled: true", "enabled: false"));
    change_in(&values, "options/key-traces/values.yaml", |text| {
        text.replace("enabled: true", "enabled: false")
    });
    change_in(&values, "options/upstream/values.yaml", |text| text.replace("from: pvc", "from: image"));
    let refused = said(&values, &base);
    for expected in [
        "options/key-traces/values.yaml:1",
        "gate.keyTraces.claim forebay-key-traces is for traces of keys: gate.keyTraces.enabled",
        "options/optimize/values.yaml:1",
        "optimize.model other is not recorded",
        "at least five minutes beyond optimize.timeSecs 1700",
        "options/records/values.yaml:1",
        "backend.record.models wants secrets.recordKey.enabled",
        "options/upstream/values.yaml:1",
        "backend.upstream.cacheModels are kept by what the server has loaded",
    ] {
        assert!(refused.contains(expected), "{expected} is not in:\n{refused}");
    }

    let components = copy(OPTIONS, "stage");
    change_in(&components, "components/optimize/cronjob.yaml", |text| {
        text.replace("      activeDeadlineSeconds: 1800\n", "")
            .replace("subPath: models }", "readOnly: true }")
    });
    change_in(&components, "components/optimize/networkpolicy.yaml", |text| {
        text.replace("egress: []", "egress: [{}]")
    });
    change_in(&components, "components/key-traces/gate.yaml", |text| {
        text.replace("mountPath: /key-traces", "mountPath: /traces")
    });
    change_in(&components, "components/records/backend.yaml", |text| {
        text.replace("subPath: records", "subPath: records, readOnly: true").replace(
            "secret: { secretName: forebay-record, defaultMode: 0440,",
            "configMap: { name: forebay-front,",
        )
    });
    change_in(&components, "components/upstream/backend.yaml", |text| {
        text.replace("/usr/bin/forebay, front", "/usr/bin/forebay, serve")
    });
    change_in(&components, "components/upstream/kustomization.yaml", |text| {
        text.replace(", { port: 8001 }", "")
    });
    let wrong = said(&components, &base);
    for expected in [
        "CronJob/forebay-optimize: spec.jobTemplate.spec.activeDeadlineSeconds",
        "/models/vad can't be written to",
        "NetworkPolicy/forebay-stage/forebay-optimize: spec.egress",
        "names /etc/forebay/record/record-key, which is of a ConfigMap",
        "is /key-traces, where nothing is mounted",
        "is /records, which is mounted to be read alone",
        "spec.template.spec.containers.backend.command: chart and overlay differ",
        "NetworkPolicy/forebay-stage/forebay-backend: spec.egress: chart and overlay differ",
    ] {
        assert!(wrong.contains(expected), "{expected} is not in:\n{wrong}");
    }
}

#[test]
fn mistakes_in_what_goes_to_zero_are_found() {
    let (base, values) = (base(), copy(OPTIONS, "stage"));
    change_in(&values, "options/scaling-hpa/values.yaml", |text| {
        text.replace("enabled: true", "wake: scale")
    });
    change_in(&values, "options/scaling-keda/values.yaml", |text| text.replace(", scaler: true", ""));
    change_in(&values, "options/scaling-kserve/values.yaml", |text| text.replace("external", "hpa"));
    change_in(&values, "options/external-metrics/values.yaml", |text| {
        text.replace("enabled: true", "scaler: true")
            .replace("mode: hpa", "mode: keda, apiService: { caBundle: Y2E=, certificate: forebay-tls }")
    });
    let refused = said(&values, &base);
    for expected in [
        "options/scaling-hpa/values.yaml:1",
        "gate.hold.wake scale wakes a backend for who waits at the gate, and nobody does",
        "scaling.min 0 wants gate.hold.enabled: at zero somebody must hold what comes",
        "gate.hold.wake scale is for where nothing else goes from 0 to 1, and scaling.mode hpa does",
        "options/scaling-keda/values.yaml:1",
        "scaling.mode keda asks the gate how many are wanted: gate.hold.enabled and gate.hold.scaler true",
        "options/scaling-kserve/values.yaml:1",
        "KServe's own HorizontalPodAutoscaler keeps one: scaling.min 1",
        "options/external-metrics/values.yaml:1",
        "scaling.metrics gate is for an HPA, and scaling.mode keda asks for none",
        "scaling.metrics gate tells what waits at the gate and what backends do, and it knows of neither",
        "scaling.apiService.caBundle and scaling.apiService.certificate both say by which CA the gate is believed",
    ] {
        assert!(refused.contains(expected), "{expected} is not in:\n{refused}");
    }

    let components = copy(OPTIONS, "stage");
    change_in(&components, "charts/forebay/templates/backend/inferenceservice.yaml", |text| {
        text.replace("  name: {{ include \"forebay.fullname\" . }}\n", "  name: other\n")
    });
    change_in(&components, "components/hold/gate.yaml", |text| text.replace("\"300\"", "\"400\""));
    change_in(&components, "components/scaling-hpa/kustomization.yaml", |text| {
        text.replace("op: remove, path: /spec/replicas", "op: replace, path: /spec/replicas, value: 2")
    });
    change_in(&components, "options/external-metrics/apiservice.yaml", |text| {
        text.replace("port: 8016", "port: 8010").replace(
            "name: forebay-gate, namespace: forebay-stage }",
            "name: other, namespace: kube-system }",
        )
    });
    change_in(&components, "components/scaling-keda/scaledobject.yaml", |text| {
        text.replace("maxReplicaCount: 4", "maxReplicaCount: 4\n  idleReplicaCount: 0")
    });
    change_in(&components, "components/rare-wake/gate.yaml", |text| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.retain(|line| !line.contains("name: POD_NAMESPACE"));
        lines.join("\n")
    });
    change_in(&components, "components/rare-wake/kustomization.yaml", |text| {
        text.replace("value: rare-forebay-backend", "value: forebay-backend")
    });
    change_in(&components, "components/on-demand/front.yaml", |text| {
        text.replacen("instance: rare", "instance: other", 1)
    });
    change_in(&components, "components/on-demand-tls/envoy.yaml", |text| {
        text.replace("timeout: 360s # one", "timeout: 60s # one")
    });
    let wrong = said(&components, &base);
    for expected in [
        "no variable POD_NAMESPACE is set before it",
        "no Role lets ServiceAccount rare-forebay-gate wake rare-forebay-backend",
        "NetworkPolicy/forebay-front: spec.egress[3].to[0].podSelector: selects no pod",
        "a route to forebay-on-demand waits 60 s",
        "waits 360 s, and the gate holds for 400 s",
        "port 8010 leads to 8010 of a gate that gives External metrics at 8016",
        "ServiceAccount forebay-gate may not read who asks for them",
        "Deployment/forebay-stage/forebay-backend: spec.replicas",
        "0 is not below minReplicaCount",
        "wakes forebay-predictor, and nothing here is or makes a Deployment of that name",
    ] {
        assert!(wrong.contains(expected), "{expected} is not in:\n{wrong}");
    }

    let fixed = copy(OPTIONS, "stage");
    change_in(&fixed, "charts/forebay/templates/backend/inferenceservice.yaml", |text| {
        text.replace("autoscalerClass: {{ $class }}", "autoscalerClass: none")
    });
    let wrong = said(&fixed, &base);
    let expected = "KServe sets forebay-predictor to minReplicas again";
    assert!(wrong.contains(expected), "{expected} is not in:\n{wrong}");
}

#[test]
fn mistakes_in_what_envoy_gateway_is_told_are_found() {
    let base = base();
    let says_of = |file: &str, change: &dyn Fn(&str) -> String, expected: &str| {
        let copy = copy(&["charts", "envoy-gateway"], "none");
        change_in(&copy, &format!("envoy-gateway/{file}"), change);
        let said = said(&copy, &base);
        assert!(said.contains(expected), "{expected} is not in:\n{said}");
    };
    let says = |change: &dyn Fn(&str) -> String, expected: &str| says_of("filter.yaml", change, expected);
    for (own, service, route) in [("http", 8000, "HTTPRoute"), ("grpc", 8001, "GRPCRoute")] {
        let own = format!("{{ group: gateway.envoyproxy.io, kind: Backend, name: forebay-backend-{own} }}");
        let service = format!("{{ name: forebay-backend, port: {service} }}");
        let expected = format!("{route}/forebay/forebay: spec.rules[0].backendRefs[0]: is a Service beside");
        says_of("gateway.yaml", &|text| text.replace(&own, &service), &expected);
    }
    says(
        &|text| text.replace("timeout_ms", "timeout_s"),
        "EnvoyExtensionPolicy/forebay/forebay: spec.wasm[0].config",
    );
    says(&|text| text.replace("\"00", "\"0x"), "spec.wasm[0].code.image.sha256");
    says(&|text| text.replace("failOpen: true", "failOpen: false"), "spec.wasm[0].failOpen: is not true");
    for (from, to) in [
        ("allow_on_headers_stop_iteration", "allow_on_header_stop_iteration"),
        ("forebay/wasm/0", "forebay/wasm/1"),
        // Beside the configuration, where Envoy has no such field.
        ("typed_config.config\"\n        path: allow", "typed_config\"\n        path: allow"),
    ] {
        says(&|text| text.replacen(from, to, 1), "spec.wasm[0]: holds requests at their headers");
    }
    says(
        &|text| text.replace("{ key: wasm.forebay.hit, string", "{ key: wasm.forebay.hid, string"),
        "spec.wasm[0].config: grpc is `answer`, and no route gives hits of calls",
    );
    says(&|text| text.replace("rootID", "rootId"), "spec.wasm[0].rootId");
    says(
        &|text| text.replace("port: 8010", "port: ten"),
        "HTTPRoute/forebay/forebay-gate: spec.rules[0].backendRefs[0].port",
    );
}

/// What the chart renders for stage, with more settings.
fn stage(base: &World, release: &str, more: &[&str]) -> Result<String, String> {
    let chart = root().join("k8s/charts/forebay");
    let mut helm = Command::new(base.tools.helm4.as_ref().expect("helm"));
    helm.args(["template", release]).arg(&chart).args(["--namespace", "forebay-stage"]);
    helm.arg("--values").arg(chart.join("values-stage.yaml")).args(more);
    let done = helm.output().expect("helm runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    if done.status.success() { Ok(text(done.stdout)) } else { Err(text(done.stderr)) }
}

const ON_DEMAND: &str = "options/on-demand/kustomization.yaml";
const RARE: &str = "options/on-demand/rare/kustomization.yaml";
const RARE_VALUES: &str = "options/on-demand/rare/values.yaml";
/// Stage without TLS: file, text, and what stands in its place.
const WITHOUT_TLS: [(&str, &str, &str); 5] = [
    ("charts/forebay/values-stage.yaml", "tls:\n  secret: forebay-tls\n", ""),
    ("overlays/stage/kustomization.yaml", " ../../components/tls,", ""),
    (ON_DEMAND, ", ../../components/on-demand-tls", ""),
    (RARE, "  - ../../../components/hold-tls\n", ""),
    (RARE, "  - ../../../components/rare-tls\n", ""),
];

/// What KEDA is told of it.
const WHERE_THE_GATE_IS: &str = "patches:
  - target: { kind: ScaledObject }
    patch: |-
      - op: add
        path: /spec/triggers/0/metadata/scalerAddress
        value: rare-forebay-gate.forebay-stage.svc:8015
";

/// Where chart and overlays differ in models with backends of their own, in another environment or scaled otherwise, and what else is wrong
/// there. Nobody looked at it yet, and most of what is meant elsewhere is not here.
fn wrong_on_demand(base: &World, environment: &str, changes: &[(&str, &str, &str)]) -> Vec<String> {
    let overlay = format!("overlays/{environment}");
    let parts =
        ["charts", "base", "components", &overlay, "options/on-demand", "drift.yaml", "outsiders.yaml"];
    let copy = copy(&parts, environment);
    for (file, from, to) in changes {
        change_in(&copy, file, |text| text.replace(from, to));
    }
    let said = said(&copy, base);
    let is_of_this = |line: &&str| !line.contains("the chart renders") && !line.contains("drift.yaml:");
    said.lines().filter(is_of_this).map(str::to_owned).collect()
}

#[test]
fn overlays_have_on_demand_models_as_the_chart_has_them_in_any_environment() {
    let base = base();
    let of_prod = [(ON_DEMAND, "stage", "prod"), (RARE, "stage", "prod")];
    assert_eq!(wrong_on_demand(&base, "prod", &of_prod), [""; 0]);
    assert_eq!(wrong_on_demand(&base, "stage", &WITHOUT_TLS), [""; 0]);
}

#[test]
fn backends_of_on_demand_models_are_scaled_by_whom_an_overlay_names() {
    let base = base();
    let hpa = [
        (RARE_VALUES, ", wake: scale } }", " } }\nscaling: { mode: hpa }"),
        (RARE, "components/wake", "components/scaling-hpa"),
        (RARE, "  - ../../../components/rare-wake\n", ""),
    ];
    assert_eq!(wrong_on_demand(&base, "stage", &hpa), [""; 0]);
    let keda = [
        (RARE_VALUES, ", wake: scale } }", ", scaler: true } }\nscaling: { mode: keda, min: 0 }"),
        (RARE, "components/wake", "components/scaling-keda"),
        (RARE, "components/rare-wake", "components/rare-keda"),
        (RARE, "patches:\n", WHERE_THE_GATE_IS),
    ];
    assert_eq!(wrong_on_demand(&base, "stage", &[&WITHOUT_TLS[..], &keda].concat()), [""; 0]);
}

#[test]
fn hot_backends_that_are_held_for_are_not_forgotten_for_on_demand_ones() {
    let copy = copy(OPTIONS, "stage");
    change_in(&copy, "options/on-demand/kustomization.yaml", |text| {
        text.replace("components: [", "components: [../../components/hold, ../../components/hold-tls, ")
    });
    let said = said(&copy, &base());
    for cluster in ["forebay-backend", "forebay-backend-grpc"] {
        let expected =
            format!("cluster {cluster} asks forebay-backend-headless, and never the gate that holds for it");
        assert!(said.contains(&expected), "{expected} is not in:\n{said}");
    }
}

#[test]
fn a_release_and_the_one_that_has_its_on_demand_models_stand_together() {
    let base = base();
    let values = root().join("k8s/options/on-demand/rare/values.yaml");
    let values = values.to_str().expect("text");
    let of = ["--set", "front.onDemand.release=rare", "--set", "front.onDemand.models={rare-model}"];
    let said = |hot: &[&str], rare: &[&str]| {
        let outsiders = Outsiders::read(&root().join("k8s/outsiders.yaml")).expect("outsiders");
        let mut world = World { outsiders, ..base.clone() };
        world.take(Path::new("hot.yaml"), &stage(&base, "forebay", hot).expect("it renders"));
        world.take(Path::new("rare.yaml"), &stage(&base, "rare", rare).expect("it renders"));
        forebay_verify::judge(&world).iter().map(Failure::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(said(&of, &["--values", values]), "");
    let shut = said(&of, &["--values", values, "--set-json", "networkPolicy.gateFrom=[]"]);
    assert!(shut.contains("NetworkPolicy/forebay-stage/rare-forebay-gate: spec.ingress"), "{shut}");
    let other = said(
        &[&of[..3], &["front.onDemand.models={a}", "--set", "front.onDemand.release=other"]].concat(),
        &["--values", values],
    );
    assert!(other.contains("other-forebay-backend-headless"), "{other}");
    let keda = root().join("k8s/options/scaling-keda/values.yaml");
    let to_zero = [&of[..], &["--values", keda.to_str().expect("text"), "--set", "scaling.min=0"]].concat();
    for (more, expected) in [
        (&of[2..], "front.onDemand.release names another release"),
        (&of[..2], "front.onDemand.release rare is asked nothing"),
        (&to_zero, "scaling.min 0 lets the hot backends go"),
    ] {
        let refused = stage(&base, "forebay", more).expect_err("it is refused");
        assert!(refused.contains(expected), "{refused}");
    }
}

#[test]
fn an_alert_that_does_not_fire_when_it_should_is_found() {
    let said = changed(&base(), WATCHING, "charts/forebay/rules/slo.yaml", |text| {
        text.replacen("for: 15m", "for: 15d", 1)
    });
    assert!(
        said.contains("monitoring/tests/slo-days.yaml") && said.contains("ForebayErrorBudgetBurnsSlowly"),
        "{said}"
    );
}
