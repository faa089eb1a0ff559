use forebay_protocol::generations::Table;

use super::*;

fn of_pool() -> LiveTable {
    LiveTable::of_pool(PoolSecret::of(b"the secret of all"))
}

fn row(generation: u8) -> Vec<LiveModel> {
    let generations = vec![Generation([generation; 32])];
    vec![LiveModel {
        service: "s".into(),
        model: "m".into(),
        version: String::new(),
        tenant: None,
        generations,
    }]
}

#[test]
fn the_epoch_grows_when_the_models_change_and_only_then() {
    let table = LiveTable::own();
    assert!(!table.is_known());
    let first = table.set_models(row(1), Vec::new());
    assert_eq!(table.set_models(row(1), Vec::new()), first);
    assert!(table.set_models(row(2), Vec::new()) > first);
    let of = |service| Scope { service, tenant: None };
    assert_eq!(table.generations(&of("s"), "m", "").unwrap(), [Generation([2; 32])]);
    assert!(table.generations(&of("other"), "m", "").unwrap().is_empty());
}

#[test]
fn who_heard_this_process_before_it_was_started_again_gets_a_higher_epoch() {
    let table = LiveTable::own();
    let now = Instant::now();
    assert_eq!(table.proven(7, "of before", now), 0);
    assert!(!table.is_known(), "nothing is served yet");
    let known = table.set_models(row(1), Vec::new()) + 1_000_000_000;
    assert_eq!(table.proven(known, "of before", now), 0);
    assert!(table.json(now).unwrap().0 > known);
    assert_eq!(table.standing(table.epoch(), now), Standing::Same);
    // Whoever makes them up can't have all proxies take the table again and again, nor make it one that no clock reaches.
    let passed = table.epoch();
    assert_eq!(table.proven(passed + 1000, "", now), 0);
    assert_eq!(table.proven(u64::MAX, "", now + PASSED_AGAIN), 0);
    assert_eq!(table.epoch(), passed);
    assert_eq!(table.proven(passed + 1000, "", now + PASSED_AGAIN), 0);
    assert!(table.epoch() > passed + 1000);
}

#[test]
fn an_epoch_that_is_not_proven_is_none_and_nobody_is_asked_after_it() {
    let (table, now) = (of_pool(), Instant::now());
    table.set(7, Some(row(1)), now, &[]);
    let (epoch, json) = table.json(now).unwrap();
    let proof = Table::parse(json.as_bytes()).unwrap().proof;
    assert_eq!(of_pool().proven(epoch, &proof, now), 7, "the gates of a pool believe each other");
    for (epoch, proof) in [(8, proof.as_str()), (7, ""), (u64::MAX, "?"), (0, "")] {
        assert_eq!(table.proven(epoch, proof, now), 0, "{epoch}");
    }
    assert!(table.untraced().is_empty());
    assert_eq!(table.epoch(), 7);
}

#[test]
fn a_table_that_is_not_refreshed_says_nothing() {
    let (table, asked) = (of_pool(), Instant::now());
    assert_eq!(table.standing(0, asked), Standing::Unknown);
    table.set(7, Some(row(1)), asked, &[]);
    assert_eq!(table.standing(0, asked + TRUSTED), Standing::Newer);
    let late = asked + TRUSTED + Duration::from_millis(1);
    assert_eq!((table.standing(0, late), table.json(late)), (Standing::Unknown, None));
    table.set(7, None, late, &[]);
    assert_eq!(table.standing(7, late), Standing::Same);
}

#[test]
fn an_epoch_that_was_never_seen_is_asked_after_before_it_is_answered() {
    let (table, asked) = (of_pool(), Instant::now());
    table.set(7, Some(row(1)), asked, &[]);
    assert_eq!([table.standing(5, asked), table.standing(9, asked)], [Standing::Untraced; 2]);
    assert_eq!(table.untraced(), [5, 9]);
    table.set(10, Some(row(2)), asked, &[5, 9]);
    assert!(table.untraced().is_empty());
    assert_eq!([5, 7, 9].map(|known| table.standing(known, asked)), [Standing::Newer; 3]);
}

#[test]
fn its_json_is_what_the_protocol_fixes() {
    let golden = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/golden/2/tables.json"));
    for vector in serde_json::from_str::<Vec<serde_json::Value>>(golden).unwrap() {
        let bytes = vector["bytes"].as_str().unwrap();
        let Table { epoch, now_ms, models, dropped, .. } = Table::parse(bytes.as_bytes()).unwrap();
        let secret = vector["secret_hex"].as_str().unwrap();
        let secret: Vec<u8> = secret.as_bytes().chunks(2).map(|two| hex(two).unwrap()).collect();
        let table = LiveTable::of_pool(PoolSecret::of(&secret));
        let now = Instant::now();
        table.set_dropped(dropped);
        table.set(epoch, Some(models), now, &[]);
        let (told, json) = table.json(now).unwrap();
        let told_ms = Table::parse(json.as_bytes()).unwrap().now_ms;
        let json = json.replace(&format!("\"now_ms\":{told_ms}"), &format!("\"now_ms\":{now_ms}"));
        assert_eq!((told, json.as_str()), (epoch, bytes), "{}", vector["name"]);
    }
}

fn hex(two: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()
}
