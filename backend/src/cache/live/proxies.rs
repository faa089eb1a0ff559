//! Which proxies poll this gate, and which table each of them has. Polls enter; what the other gates and `serve` should know of
//! them leaves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::time::every::Every;

/// A proxy that did not poll for so long gives no hits any more: it doesn't trust its table for as long.
pub(crate) const LEASE: Duration = Duration::from_secs(10);
/// Of one that waits for an answer it is said again that it is there.
const SAID_AGAIN: Duration = Duration::from_secs(2);
/// More proxies get no table.
const MOST: usize = 16_384;
/// Nor do more polls of one at a time: a proxy has one that is held, and at most one more of each worker.
const MOST_POLLS: u32 = 1024;
/// Between two looks for those that are gone.
const SWEEP: Duration = Duration::from_secs(1);

/// The proxies by name.
#[derive(Default)]
pub(crate) struct Proxies {
    known: Mutex<Known>,
    /// Rung when one has a table that it didn't have before.
    news: Notify,
}

#[derive(Default)]
struct Known {
    by_name: HashMap<String, Proxy>,
    swept: Every,
}

struct Proxy {
    epoch: u64,
    /// Polls that wait for their answers.
    polls: u32,
    heard: Instant,
    /// What was said of it to the pool, and when.
    said: Option<(u64, Instant)>,
}

/// More than is kept count of.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum TooMany {
    #[error("{MOST} proxies poll this gate already")]
    Proxies,
    #[error("{MOST_POLLS} polls of this proxy wait already")]
    Polls,
}

/// A poll that waits for its answer.
pub(crate) struct Waiting {
    proxies: Arc<Proxies>,
    name: String,
}

impl Proxies {
    /// A poll came: the proxy has the table of that epoch.
    ///
    /// # Errors
    /// When there are too many to keep count of.
    pub(crate) fn polls(self: &Arc<Self>, name: &str, epoch: u64) -> Result<Waiting, TooMany> {
        self.hear(name, epoch, Instant::now())?;
        Ok(Waiting { proxies: self.clone(), name: name.to_owned() })
    }

    pub(super) fn hear(&self, name: &str, epoch: u64, now: Instant) -> Result<(), TooMany> {
        let mut known = self.lock();
        if !known.by_name.contains_key(name) && !known.has_room(now) {
            return Err(TooMany::Proxies);
        }
        let fresh = || Proxy { epoch: 0, polls: 0, heard: now, said: None };
        let proxy = known.by_name.entry(name.to_owned()).or_insert_with(fresh);
        if proxy.polls >= MOST_POLLS {
            return Err(TooMany::Polls);
        }
        let is_news = proxy.said.is_none() || epoch > proxy.epoch;
        proxy.epoch = proxy.epoch.max(epoch);
        proxy.polls += 1;
        proxy.heard = now;
        drop(known);
        if is_news {
            self.news.notify_one();
        }
        Ok(())
    }

    /// A poll of that proxy's was answered.
    pub(super) fn answered(&self, name: &str, now: Instant) {
        if let Some(proxy) = self.lock().by_name.get_mut(name) {
            proxy.polls = proxy.polls.saturating_sub(1);
            proxy.heard = now;
        }
    }

    /// How many poll this gate, and how many of them don't have the table of that epoch.
    pub(crate) fn count(&self, epoch: u64, now: Instant) -> (usize, usize) {
        let known = self.lock();
        let there = || known.by_name.values().filter(|proxy| proxy.is_there(now));
        (there().count(), there().filter(|proxy| proxy.epoch < epoch).count())
    }

    /// Waits for a proxy that has another table than was said of it.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// Of whom the pool should hear now, and which epoch they have.
    pub(crate) fn to_say(&self, now: Instant) -> Vec<(String, u64)> {
        let by_name = &mut self.lock().by_name;
        by_name.retain(|_, proxy| proxy.is_there(now));
        let is_due = |proxy: &Proxy| match proxy.said {
            None => true,
            Some((epoch, at)) => {
                let heard_since = proxy.polls > 0 || proxy.heard > at;
                epoch != proxy.epoch || (heard_since && now.duration_since(at) >= SAID_AGAIN)
            }
        };
        let due = by_name.iter().filter(|(_, proxy)| is_due(proxy));
        due.map(|(name, proxy)| (name.clone(), proxy.epoch)).collect()
    }

    /// The pool has heard of them.
    pub(crate) fn said(&self, of: &[(String, u64)], now: Instant) {
        let by_name = &mut self.lock().by_name;
        for (name, epoch) in of {
            if let Some(proxy) = by_name.get_mut(name) {
                proxy.said = Some((*epoch, now));
            }
        }
    }

    /// One that doesn't have the table of that epoch.
    pub(crate) fn behind(&self, epoch: u64, now: Instant) -> Option<String> {
        let by_name = &self.lock().by_name;
        let behind = by_name.iter().find(|(_, proxy)| proxy.is_there(now) && proxy.epoch < epoch);
        behind.map(|(name, _)| name.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether there is room for one more.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.by_name.len() >= MOST && self.swept.is_due(SWEEP, now) {
            self.by_name.retain(|_, proxy| proxy.is_there(now));
        }
        self.by_name.len() < MOST
    }
}

impl Proxy {
    fn is_there(&self, now: Instant) -> bool {
        self.polls > 0 || now.duration_since(self.heard) <= LEASE
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.proxies.answered(&self.name, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_behind_until_it_polls_with_the_epoch_or_its_lease_is_over() {
        let (proxies, start) = (Arc::new(Proxies::default()), Instant::now());
        let waiting = proxies.polls("p", 5).unwrap();
        assert_eq!(proxies.behind(6, start).as_deref(), Some("p"));
        let later = Instant::now() + LEASE + Duration::from_secs(1);
        assert!(proxies.behind(6, later).is_some(), "it waits for its answer");
        drop(waiting);
        assert!(proxies.behind(6, Instant::now() + LEASE / 2).is_some());
        assert!(proxies.behind(6, later + LEASE).is_none());
        drop(proxies.polls("p", 6).unwrap());
        drop(proxies.polls("p", 4).unwrap());
        assert!(proxies.behind(6, Instant::now()).is_none(), "what was late changes nothing");
    }

    #[test]
    fn the_pool_hears_of_news_at_once_and_of_those_that_wait_now_and_then() {
        let (proxies, start) = (Arc::new(Proxies::default()), Instant::now());
        let _waiting = proxies.polls("p", 5).unwrap();
        let due = proxies.to_say(start);
        assert_eq!(due, [("p".to_owned(), 5)]);
        assert_eq!(proxies.to_say(start).len(), 1, "until it has heard");
        proxies.said(&due, start);
        assert!(proxies.to_say(start).is_empty());
        assert_eq!(proxies.to_say(start + SAID_AGAIN).len(), 1);
        drop(proxies.polls("p", 6).unwrap());
        assert_eq!(proxies.to_say(start), [("p".to_owned(), 6)]);
    }

    #[test]
    fn there_is_a_bound_on_proxies_and_the_gone_make_room() {
        let (proxies, now) = (Arc::new(Proxies::default()), Instant::now());
        for number in 0..MOST {
            proxies.hear(&number.to_string(), 1, now).unwrap();
        }
        let later = now + LEASE * 2;
        assert_eq!(proxies.hear("one more", 1, later), Err(TooMany::Proxies));
        proxies.lock().by_name.values_mut().for_each(|proxy| proxy.polls = 0);
        assert!(proxies.hear("one more", 1, later + SWEEP / 2).is_err(), "it was looked a moment ago");
        assert!(proxies.hear("one more", 1, later + SWEEP).is_ok());
    }

    #[test]
    fn there_is_a_bound_on_the_polls_of_one_proxy() {
        let proxies = Arc::new(Proxies::default());
        let mut waiting: Vec<Waiting> = (0..MOST_POLLS).map(|_| proxies.polls("p", 1).unwrap()).collect();
        assert_eq!(proxies.polls("p", 1).err(), Some(TooMany::Polls));
        waiting.pop();
        assert!(proxies.polls("p", 1).is_ok() && proxies.polls("q", 1).is_ok());
    }
}
