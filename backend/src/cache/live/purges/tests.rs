use super::*;

fn name(service: &str, model: &str, tenant: &str) -> Name {
    Name::of(service, model, tenant)
}

fn number(purges: &Purges, service: &str, model: &str, tenant: &str) -> u64 {
    let tenant = Tenant::parse(tenant).ok();
    purges.number(service, model, tenant.as_ref())
}

#[test]
fn the_highest_number_that_covers_a_request_counts_and_others_are_not_touched() {
    let mut purges = Purges::default();
    for (at, one) in [name("s", "m", ""), name("s", "", "t"), name("s", "m", "u")].iter().enumerate() {
        purges.raise(one, None, 100 * (1 + at as u64)).unwrap();
    }
    assert_eq!(number(&purges, "s", "m", ""), 100);
    assert_eq!(number(&purges, "s", "m", "t"), 200);
    assert_eq!(number(&purges, "s", "n", "t"), 200);
    assert_eq!(number(&purges, "s", "m", "u"), 300);
    assert_eq!((number(&purges, "s", "n", "u"), number(&purges, "other", "m", "t")), (0, 0));
}

#[test]
fn numbers_only_grow_and_what_is_covered_makes_room() {
    let mut purges = Purges::default();
    purges.raise(&name("s", "m", "t"), None, 1000).unwrap();
    purges.raise(&name("s", "m", ""), None, 10).unwrap();
    assert_eq!(purges.numbers().collect::<Vec<_>>(), [("s\nm\n".to_owned(), 1001)], "the clock is behind");
    purges.raise(&name("s", "m", ""), Some(1001), 2000).unwrap();
    assert_eq!(purges.mark(), 1001, "it has that number");
    purges.raise(&name("s", "m", ""), Some(5000), 2000).unwrap();
    assert_eq!(number(&purges, "s", "m", ""), 5001, "what was lost is higher when it comes again");
    for model in 0..MOST {
        let _ = purges.raise(&name("s", &format!("m{model}"), ""), None, 1);
    }
    assert_eq!(purges.raise(&name("s", "one more", ""), None, 1), Err(Full));
    purges.raise(&name("s", "m1", ""), None, 1).unwrap();
    purges.raise(&name("s", "one more", "").wider(), None, 1).unwrap();
    assert_eq!(purges.numbers().count(), 1);
}

#[test]
fn what_the_registry_has_lost_is_said_again_and_counts_meanwhile() {
    let (purged, now) = (Purged::shared(), Instant::now());
    assert!(!purged.is_known());
    let mut first = Purges::default();
    first.raise(&name("s", "m", ""), None, 100).unwrap();
    first.raise(&name("s", "", "t"), None, 200).unwrap();
    assert!(purged.heard(Some(first), now).is_empty());
    assert!(purged.is_known());
    let mut since = Purges::default();
    since.raise(&name("s", "", ""), None, 150).unwrap();
    let lost = purged.heard(Some(since), now);
    assert_eq!(lost, [(name("s", "", "t"), 200)], "the other one is covered");
    assert_eq!(number(&purged.now(), "s", "m", "t"), 200);
    assert_eq!(number(&purged.now(), "s", "m", "u"), 150);
}

#[test]
fn a_request_is_purged_by_itself_and_touches_nothing_else() {
    let (known, digest, other) = (Purged::own(), Digest([7; 32]), Digest([8; 32]));
    let mut purges = Purges::default();
    purges.raise(&name("s", "m", ""), None, 100).unwrap();
    purges.raise(&Name::request(&digest), None, 200).unwrap();
    assert_eq!(purges.dropped(), [Dropped { digest, number: 200 }]);
    assert_eq!(number(&purges, "s", "m", &digest.to_string()), 100, "a tenant of that name is none");
    assert_eq!(Name::read(&Name::request(&digest).text()), Some(Name::request(&digest)));
    purges.raise(&name("s", "", ""), None, 300).unwrap();
    assert_eq!(purges.dropped().len(), 1);
    known.set(purges);
    assert_eq!((known.digest(&digest), known.digest(&other)), (digest.purged(200), other));
}

#[test]
fn a_tenant_that_was_purged_has_rows_of_its_own() {
    let generation = Generation([1; 32]);
    let row = |model: &str| LiveModel {
        service: "s".into(),
        model: model.into(),
        version: String::new(),
        tenant: None,
        generations: vec![generation],
    };
    let mut purges = Purges::default();
    assert_eq!(purges.fold(vec![row("m")]), [row("m")]);
    purges.raise(&name("s", "m", ""), None, 100).unwrap();
    purges.raise(&name("s", "", "t"), None, 200).unwrap();
    let told: Vec<_> = purges
        .fold(vec![row("m"), row("n")])
        .into_iter()
        .map(|r| (r.model, r.tenant, r.generations))
        .collect();
    let of = |model: &str, tenant: Option<&str>, number| {
        (model.to_owned(), tenant.map(str::to_owned), vec![generation.purged(number)])
    };
    let tenant = Some("t");
    assert_eq!(told, [of("m", None, 100), of("m", tenant, 200), of("n", None, 0), of("n", tenant, 200)]);
}
