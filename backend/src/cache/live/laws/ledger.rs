//! A ledger is the same in a real Redis and a real Memcached: what many add at once is added once each, and a service has its own; and
//! who is alive says what its processor can do.

use rig::tier::{Server, Tier};

use crate::cache::live::fleet;
use crate::cache::live::heard::{Record, Served};
use crate::cache::live::ledger::{Book, Fields, Note};
use crate::cache::live::registry::MemcachedSteps;
use crate::cache::live::registry::steps::{Steps, Word, digest, text};
use crate::cache::pool::{Memcached, Redis};
use crate::engine::cpu::Cpu;
use crate::settings::Reach;

const MANY: u64 = 12;

fn add(more: u64) -> Note {
    Note::Add { field: "count".to_owned(), more }
}

fn put(text: &str) -> Note {
    Note::Put { field: "text".to_owned(), text: text.to_owned() }
}

async fn keeps(steps: impl Steps + Clone) {
    assert_eq!(steps.note(Book::Variants, "s", &[]).await.unwrap(), Fields::new());
    let mut many = tokio::task::JoinSet::new();
    for number in 1..=MANY {
        let steps = steps.clone();
        many.spawn(async move { steps.note(Book::Variants, "s", &[add(number), put("x")]).await.unwrap() });
    }
    many.join_all().await;
    let expected: Fields =
        [("count", "78"), ("text", "x")].map(|(name, text)| (name.into(), text.into())).into();
    assert_eq!(steps.note(Book::Variants, "s", &[]).await.unwrap(), expected);
    assert_eq!(steps.note(Book::Variants, "t", &[]).await.unwrap(), Fields::new(), "another service");
    assert_eq!(steps.note(Book::Held, "s", &[]).await.unwrap(), Fields::new(), "another book");
    let drop = Note::Drop { field: "text".to_owned() };
    let left = steps.note(Book::Variants, "s", &[drop.clone(), drop]).await.unwrap();
    assert_eq!(left, Fields::from([("count".into(), "78".into())]));
}

async fn tells(steps: impl Steps + Clone) {
    let generation = forebay_protocol::digest::Generation([1; 32]);
    let served = Served { model: "m".into(), version: String::new(), generation };
    for (instance, service, left) in
        [("b", "s", false), ("a", "s", false), ("c", "s", true), ("d", "t", false)]
    {
        let record = text(&Record::empty(service).then(vec![served.clone()]));
        let digest = digest(&record);
        let word =
            Word { instance, left, digest: &digest, record: &record, known: 0, unanswered: false, purged: 0 };
        steps.say(&word).await.unwrap();
    }
    let replicas = fleet::of(steps, "s").await.unwrap();
    let names: Vec<&str> = replicas.iter().map(|replica| replica.instance.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(replicas.iter().all(|one| one.cpu.as_ref() == Some(Cpu::here())));
}

fn with<T: Steps + Clone, F: Future<Output = ()>>(
    tier: Tier,
    open: impl AsyncFn(Reach) -> T,
    shown: impl Fn(T) -> F,
) {
    let server = Server::start(tier);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let url = format!("{}://127.0.0.1:{}", tier.name(), server.port);
    runtime.block_on(async { shown(open(Reach::by_url(&url)).await).await });
}

async fn redis(reach: Reach) -> Redis {
    Redis::open(&reach).await.unwrap()
}

async fn memcached(reach: Reach) -> MemcachedSteps {
    MemcachedSteps::new(Memcached::open(&reach).await.unwrap())
}

#[test]
fn what_many_note_at_once_is_noted_once_each() {
    with(Tier::Redis, redis, keeps);
    with(Tier::Memcached, memcached, keeps);
}

#[test]
fn servers_that_are_alive_tell_their_class_of_processor() {
    with(Tier::Redis, redis, tells);
    with(Tier::Memcached, memcached, tells);
}
