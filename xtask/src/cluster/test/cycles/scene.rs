//! A service at zero that is taken through its cycles: who scales it enters; what was asked, answered and woken, each counted, leaves.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, ensure};

use super::client::{Asked, Values, connect};
use super::hits::Hits;
use super::replicas::Replicas;
use super::service::{GONE, PATIENT, PROMPT, Service};
use super::took::Took;
use super::{PATIENCE, Scaler};
use crate::cluster::test::bed::RELEASE;
use crate::cluster::test::load::{Sent, told};

const CYCLES: usize = 5;
/// In this one there are many who wait.
const CROWDED: usize = 3;
pub(super) const HELD: usize = 1000;
/// Who asks the patient model, one request after the other: four times what one pod takes.
const CLIENTS: usize = 16;
/// The most backends that there are.
const MOST: u32 = 3;
/// So long nothing else happens: what hits take then is what they are compared with.
const QUIET: Duration = Duration::from_secs(5);

/// A service at zero, which knows some answers.
pub(super) struct Scene<'a> {
    service: &'a Service<'a>,
    scaler: &'a Scaler,
    front: SocketAddr,
    replicas: Replicas,
    values: Values,
    kept: Asked,
    hits: Hits,
    /// Of the gate, before the first cycle.
    wakes: u64,
}

impl<'a> Scene<'a> {
    /// Waits until it is at zero.
    ///
    /// # Errors
    /// It does not get there.
    pub(super) fn start(service: &'a Service<'a>, scaler: &'a Scaler) -> Result<Self> {
        let (front, values) = (service.front()?, Values::new());
        let kept = Asked { model: PROMPT, value: values.next() };
        let mut connection = connect(front)?;
        kept.on(&mut connection).map_err(|why| anyhow!("the first request: {why}"))?;
        let replicas = Replicas::watch(&service.bed)?;
        let scene = Self { service, scaler, front, replicas, values, kept, hits: Hits::default(), wakes: 0 };
        scene.to_none()?;
        let wakes = service.metric("gate", "forebay_hold_wakes")?;
        // What happened before is no cycle's.
        Ok(Self { replicas: Replicas::watch(&service.bed)?, wakes, ..scene })
    }

    /// What all cycles took.
    ///
    /// # Errors
    /// A request is lost or answered wrongly, or a cycle is not one wake.
    pub(super) fn run(&self) -> Result<String> {
        let (mut took, enough) = (Took::default(), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| self.hits.ask(self.front, self.kept, &enough));
            let outcome = (1..=CYCLES).try_for_each(|number| {
                self.cycle(number, &mut took).with_context(|| format!("cycle {number}"))
            });
            enough.store(true, Ordering::Relaxed);
            outcome
        })?;
        self.verdict(took)
    }

    fn cycle(&self, number: usize, took: &mut Took) -> Result<()> {
        let quiet = Instant::now();
        thread::sleep(QUIET);
        let began = Instant::now();
        took.quiet.extend(self.hits.between(quiet, began));
        let crowd = if number == CROWDED { self.begin(HELD)? } else { Vec::new() };
        let miss = self.asked(PROMPT);
        let answered = miss.begin(self.front).map_err(|error| error.kind().to_string());
        let answered = answered.and_then(|mut connection| miss.end(&mut connection));
        let (at, now) = (SystemTime::now(), Instant::now());
        took.sent.count(answered);
        took.wakes.push(now - began);
        took.waking.extend(self.hits.between(began, now));
        let many = !crowd.is_empty();
        for (asked, mut connection) in crowd {
            took.sent.count(asked.end(&mut connection));
        }
        let last = SystemTime::now();
        let ready = self.service.ready_at()?;
        let after = |at: SystemTime| at.duration_since(ready).unwrap_or_default();
        if many {
            took.drained = Some(after(last));
            let refused = self.service.metric("backend", "nv_inference_request_failure")?;
            ensure!(refused == 0, "the backend's queue refused {refused} of those who waited");
        } else {
            took.first.push(after(at));
            let (began, next) = (Instant::now(), self.asked(PROMPT));
            took.sent.count(
                next.begin(self.front).map_err(|error| error.to_string()).and_then(|mut c| next.end(&mut c)),
            );
            took.then.push(began.elapsed());
        }
        let began = Instant::now();
        took.sent.add(self.busy(|| self.to_most())?);
        took.up.push(began.elapsed());
        let began = Instant::now();
        self.to_none()?;
        took.down.push(began.elapsed());
        let wakes = self.replicas.wakes();
        ensure!(wakes == number, "{wakes} times Kubernetes was asked for a first backend");
        println!("           cycle {number}: {}", took.last());
        Ok(())
    }

    fn asked(&self, model: &'static str) -> Asked {
        Asked { model, value: self.values.next() }
    }

    /// So many that nobody has asked, each on a connection of its own, all of them sent.
    fn begin(&self, count: usize) -> Result<Vec<(Asked, rig::http::Connection)>> {
        let one = || {
            let asked = self.asked(PROMPT);
            Ok((asked, asked.begin(self.front)?))
        };
        (0..count).map(|_| one()).collect()
    }

    /// Many ask, one request after the other each, until that is done.
    fn busy(&self, done: impl FnOnce() -> Result<()>) -> Result<Sent> {
        let (enough, sent) = (AtomicBool::new(false), Mutex::new(Sent::default()));
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut own = Sent::default();
                    let mut connection = connect(self.front);
                    while !enough.load(Ordering::Relaxed) {
                        let asked = self.asked(PATIENT);
                        let answered = connection.as_mut().map_err(|error| format!("lost: {}", error.kind()));
                        let answered = answered.and_then(|connection| asked.on(connection));
                        if answered.is_err() {
                            connection = connect(self.front);
                        }
                        own.count(answered);
                    }
                    sent.lock().unwrap_or_else(PoisonError::into_inner).add(own);
                });
            }
            let outcome = done();
            enough.store(true, Ordering::Relaxed);
            outcome
        })?;
        Ok(sent.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until as many are ready as there may be.
    fn to_most(&self) -> Result<()> {
        if self.scaler.up_by_hand {
            self.by_hand(MOST)?;
        }
        self.replicas.until("three are ready", PATIENCE, |seen| seen.ready == MOST).map(drop)
    }

    /// Waits until none is there.
    fn to_none(&self) -> Result<()> {
        if self.scaler.down_by_hand {
            self.by_hand(0)?;
        }
        self.replicas.until("none is wanted", PATIENCE, |seen| seen.wanted == 0)?;
        self.service.bed.run(GONE).map(drop)
    }

    fn by_hand(&self, count: u32) -> Result<()> {
        self.service.bed.run(&format!("scale deployment/{RELEASE}-backend --replicas={count}")).map(drop)
    }

    fn verdict(&self, mut took: Took) -> Result<String> {
        let sent = [("misses", std::mem::take(&mut took.sent))];
        let text = told(&sent);
        ensure!(sent.iter().all(|(_, sent)| sent.failed.is_empty()), "{text}");
        let refused = self.service.metric("gate", "forebay_hold_refused")?;
        ensure!(refused == 0, "the gate refused {refused} requests; {text}");
        // On a machine that stands still for a moment it may believe once more that none is there; nobody is woken by it.
        let wanted = self.service.metric("gate", "forebay_hold_wakes")? - self.wakes;
        ensure!(wanted >= CYCLES as u64, "{wanted} times the gate wanted a backend; {text}");
        Ok(format!(
            "{CYCLES} cycles, {} wakes ({wanted} by the gate's count); {text}; {}; {took}",
            self.replicas.wakes(),
            self.hits.verdict()?
        ))
    }
}
