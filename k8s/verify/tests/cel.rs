//! Rules of definitions: all that we carry can be evaluated, all that Kubernetes' CEL has is there, and a rule sees an object as the
//! API server shows it.

use std::fs;
use std::path::Path;

use forebay_verify::schema::cel::Rules;
use kube_cel::cel::Value as Cel;
use serde_json::{Value, json};

/// Every rule of a schema.
fn rules_of(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(members) => {
            let rules = members.get("x-kubernetes-validations").and_then(Value::as_array);
            for rule in rules.into_iter().flatten() {
                let text = |key: &str| rule.get(key).and_then(Value::as_str).map(str::to_owned);
                found.extend(text("rule").into_iter().chain(text("messageExpression")));
            }
            members.values().for_each(|member| rules_of(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| rules_of(item, found)),
        _ => {}
    }
}

#[test]
fn every_rule_of_the_definitions_that_we_carry_can_be_evaluated() {
    let (rules, mut seen) = (Rules::default(), 0);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
    for entry in fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.file_name() != "NOTICE") {
        let mut found = Vec::new();
        rules_of(&serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap(), &mut found);
        for rule in &found {
            let read = rules.read(rule);
            assert!(read.is_ok(), "{}: {rule}: {}", entry.path().display(), read.unwrap_err());
        }
        seen += found.len();
    }
    assert!(seen > 400, "{seen} rules");
}

/// What `self` is in [`KNOWN`].
fn example() -> Value {
    json!({"list": [3, 1, 2], "map": {"b": 2, "a": 1}, "text": "a-b", "here": {"name": "n"}})
}

/// A library of Kubernetes' CEL each: all are true of [`example`].
const KNOWN: &[&str] = &[
    // The language's own.
    "has(self.here.name) && !has(self.gone) && 'b' in self.map && 3 in self.list && size(self.text) == 3",
    "self.list.all(x, x > 0) && self.list.exists(x, x == 2) && self.list.exists_one(x, x == 2)",
    "self.list.map(x, x * 2) == [6, 2, 4] && self.list.map(x, x > 1, x) == [3, 2] && self.list.filter(x, x > 1) == [3, 2]",
    "1 < 1.5 && double(1) == 1.0 && int('7') == 7 && string(7) == '7' && dyn(1) == 1",
    "duration('90s') < duration('2m') && timestamp('2026-11-29T00:00:00Z').getFullYear() == 2026",
    "'abc'.matches('^a.c$') && 'abc'.startsWith('a') && 'abc'.endsWith('c') && 'abc'.contains('b')",
    // Strings.
    "'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b' && 'Ab'.lowerAscii() == 'ab' && ' a '.trim() == 'a'",
    "'abc'.substring(1) == 'bc' && 'abc'.charAt(1) == 'b' && 'abc'.indexOf('c') == 2 && 'aa'.lastIndexOf('a') == 1",
    "'aab'.replace('a', 'x') == 'xxb' && 'ab'.upperAscii() == 'AB' && 'abc'.reverse() == 'cba' && '%s: %d'.format(['a', 1]) == 'a: 1'",
    // Lists and sets.
    "[1, 2].isSorted() && !self.list.isSorted() && self.list.sum() == 6 && self.list.min() == 1 && self.list.max() == 3",
    "self.list.indexOf(1) == 1 && self.list.sort() == [1, 2, 3] && self.list.slice(0, 2) == [3, 1] && [1, 1].distinct() == [1]",
    "[[1], [2]].flatten() == [1, 2] && self.list.reverse() == [2, 1, 3] && lists.range(2) == [0, 1]",
    "self.list.sortBy(x, -x) == [3, 2, 1] && self.list.first().value() == 3 && self.list.last().value() == 2",
    "sets.contains(self.list, [1]) && sets.equivalent([1, 1], [1]) && sets.intersects(self.list, [1, 9])",
    // Regular expressions.
    "'a1b22'.find('[0-9]+') == '1' && 'a1b22'.findAll('[0-9]+') == ['1', '22'] && 'a1b22'.findAll('[0-9]+', 1) == ['1']",
    // URLs, addresses, networks.
    "isURL('https://a.b:8/c?d=e') && url('https://a.b:8/c?d=e').getHost() == 'a.b:8' && url('https://a.b/c').getScheme() == 'https'",
    "url('https://a.b:8/c').getPort() == '8' && url('https://a.b/c').getEscapedPath() == '/c' && url('https://a.b/?d=e').getQuery()['d'] == ['e']",
    "isIP('::1') && ip('127.0.0.1').family() == 4 && ip('127.0.0.1').isLoopback() && ip.isCanonical('::1') && !isIP('x')",
    "isCIDR('10.0.0.0/8') && cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').prefixLength() == 8",
    "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.0.0.0/8').ip() == ip('10.0.0.0') && string(ip('::1')) == '::1'",
    // Amounts and versions.
    "isQuantity('1Gi') && quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1k').asInteger() == 1000 && quantity('1').sign() == 1",
    "quantity('1').add(quantity('1')).compareTo(quantity('2')) == 0 && quantity('3').sub(1).isLessThan(quantity('3'))",
    "isSemver('1.2.3') && semver('1.2.3').minor() == 2 && semver('1.2.3').isLessThan(semver('1.10.0')) && semver('v1.0', true).major() == 1",
    // Formats.
    "!format.dns1123Label().validate('a-b').hasValue() && format.dns1123Label().validate('A').hasValue()",
    "!format.labelValue().validate('x').hasValue() && !format.uuid().validate('123e4567-e89b-12d3-a456-426614174000').hasValue()",
    // What may be there.
    "self.?here.name.orValue('') == 'n' && self.?gone.name.orValue('none') == 'none' && !self.?gone.hasValue()",
    "self.map[?'a'].orValue(0) == 1 && self.map[?'z'].orValue(0) == 0 && optional.of(1).value() == 1 && !optional.none().hasValue()",
    "self.?here.optMap(h, h.name).orValue('') == 'n' && self.?gone.optMap(h, h.name).orValue('none') == 'none'",
    "optional.ofNonZeroValue('').or(optional.of('x')).value() == 'x' && self.?here.optFlatMap(h, h.?name).orValue('') == 'n'",
    // Two variables.
    "self.map.all(k, v, k != '' && v > 0) && self.list.exists(i, v, i == 1 && v == 1) && self.list.existsOne(i, v, i == 0 && v == 3)",
    "self.list.transformList(i, v, i + v) == [3, 2, 4] && self.map.transformList(k, v, v > 1, k) == ['b']",
    "self.map.transformMap(k, v, v * 2) == {'a': 2, 'b': 4} && self.map.transformMap(k, v, v > 1, v) == {'b': 2}",
];

/// What it has and is not there: a rule that says so counts as kept. One that we carry may not.
const LACKING: &[&str] = &[
    "type(self) == map",
    "format.named('uuid').value().validate('x').hasValue()",
    "self.map.transformMapEntry(k, v, {v: k}) == {}",
];

#[test]
fn what_is_lacking_is_recorded() {
    let rules = Rules::default();
    for rule in LACKING {
        let found = rules.evaluate(rule, rules.shown(&Value::Null, &example()));
        assert!(found.is_err(), "{rule} can be evaluated now: {found:?}");
    }
}

#[test]
fn what_kubernetes_lists_is_there() {
    let rules = Rules::default();
    let schema = json!({"x-kubernetes-validations": [], "additionalProperties": true});
    let mut wrong = Vec::new();
    for rule in KNOWN {
        let of = rules.shown(&schema, &example());
        let found = rules.evaluate(rule, of);
        if found != Ok(Cel::Bool(true)) {
            wrong.push(format!("{rule}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), KNOWN.len(), wrong.join("\n"));
}

fn broken(schema: &Value, value: &Value) -> Vec<String> {
    Rules::default()
        .broken(schema, value)
        .into_iter()
        .map(|one| format!("{}: {}", one.path, one.message))
        .collect()
}

#[test]
fn keys_of_maps_are_as_they_are_and_fields_by_names_that_cel_can_say() {
    let schema = json!({
        "type": "object",
        "properties": {
            "jwks_uri": {"type": "string"},
            "a-b": {"type": "string"},
            "namespace": {"type": "string"},
            "ports": {
                "additionalProperties": {"type": "integer"},
                "x-kubernetes-validations": [{"rule": "self.all(key, key.matches('^[-a-z]+$'))", "message": "a key"}]
            },
        },
        "x-kubernetes-validations": [
            {"rule": "!has(self.jwks_uri)", "message": "jwks_uri"},
            {"rule": "!has(self.a__dash__b)", "message": "a-b"},
            {"rule": "!has(self.__namespace__)", "message": "namespace", "fieldPath": ".namespace"},
        ],
    });
    assert_eq!(broken(&schema, &json!({"ports": {"http-web": 80}})), [""; 0]);
    assert_eq!(broken(&schema, &json!({"ports": {"http_web": 80}})), ["ports: a key"]);
    assert_eq!(
        broken(&schema, &json!({"jwks_uri": "u", "a-b": "c", "namespace": "n"})),
        [": jwks_uri", ": a-b", "namespace: namespace"]
    );
}

#[test]
fn numbers_and_spans_are_of_the_schemas_types_and_nulls_are_gone() {
    let schema = json!({
        "type": "object",
        "properties": {
            "share": {"type": "number", "x-kubernetes-validations": [{"rule": "self / 2.0 < 1.0", "message": "a share"}]},
            "wait": {"type": "string", "format": "duration", "x-kubernetes-validations": [
                {"rule": "self <= duration('1m')", "messageExpression": "'waits ' + string(self)"}
            ]},
        },
        "x-kubernetes-validations": [
            {"rule": "!has(self.wait) || has(self.share)", "message": "a share for a wait"},
            {"rule": "self.share == oldSelf.share", "message": "may not change"},
        ],
    });
    assert_eq!(broken(&schema, &json!({"share": 1, "wait": "30s"})), [""; 0]);
    assert_eq!(broken(&schema, &json!({"share": 2, "wait": null})), ["share: a share"]);
    assert_eq!(broken(&schema, &json!({"wait": "2m"})), [": a share for a wait", "wait: waits 2m0s"]);
}

#[test]
fn a_rule_that_reads_what_is_not_there_is_broken() {
    let rule =
        |rule: &str| json!({"x-kubernetes-validations": [{"rule": rule, "message": "refs or options"}]});
    let value = json!({"mode": "Terminate"});
    for asks in [
        "self.mode == 'Terminate' ? size(self.refs) > 0 || size(self.options) > 0 : true",
        "self.refs[0] == 'a'",
    ] {
        assert_eq!(broken(&rule(asks), &value), [": refs or options"], "{asks}");
    }
    assert_eq!(broken(&rule("size(self.refs) > 0 || self.mode == 'Terminate'"), &value), [""; 0]);
}

#[test]
fn what_can_not_be_evaluated_says_why() {
    let rules = Rules::default();
    for (rule, why) in [("self.nonsense(1)", "nobody knows `nonsense`"), ("Pod{}.x == 1", "makes a `Pod`")] {
        assert_eq!(rules.read(rule).unwrap_err(), why);
    }
    assert!(rules.read("self.replicas >").is_err());
}
