//! Records as items of their own, by their digests: said, fetched once, and kept from being forgotten while they are on the board.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{KEPT, MemcachedSteps, StepError};
use crate::cache::live::heard::{Heard, Record};
use crate::cache::live::registry::board::Board;
use crate::cache::live::registry::steps::{Word, digest};
use crate::cache::pool::PoolError;
use crate::cache::pool::memcached::astray;
use crate::cache::pool::memcached::wire::{self, If, Reply};
use crate::time::every::Every;

/// A gate looks so often whether those are there that it goes by.
const LOOKED: Duration = Duration::from_secs(1);
/// All that are on the board have so many bytes at most.
const MOST_BYTES: usize = 64 << 20;

/// Texts of records by their digests.
#[derive(Default)]
pub(super) struct Records {
    texts: BTreeMap<String, Arc<str>>,
    looked: Every,
}

impl MemcachedSteps {
    /// Of the record that has that digest.
    fn record_name(&self, digest: &str) -> String {
        self.memcached.names.of(&format!("2:record:{digest}"))
    }

    /// Has the record there before its digest is on the board. False where only the digest is said, and it is not there.
    pub(super) async fn say_record(&self, word: &Word<'_>) -> Result<bool, PoolError> {
        let mut commands = Vec::new();
        if word.record.is_empty() {
            wire::touch(&mut commands, &self.record_name(word.digest), KEPT);
            return match self.ask_one(commands).await? {
                Reply::Done => Ok(true),
                Reply::Missing => Ok(false),
                other => Err(astray(other)),
            };
        }
        let most = self.memcached.home.max_bytes();
        if word.record.len() > most {
            return Err(StepError::LongRecord(word.record.len(), most).into());
        }
        wire::set(&mut commands, &self.record_name(word.digest), word.record.as_bytes(), KEPT, If::Always);
        match self.ask_one(commands).await? {
            Reply::Done => Ok(true),
            other => Err(astray(other)),
        }
    }

    /// What was heard by that board; `None` where a record is lost, and with it now all that was said.
    pub(super) async fn heard(&self, board: &Board) -> Result<Option<Vec<Heard>>, PoolError> {
        let lacking: Vec<String> = {
            let texts = &mut self.seen().records.texts;
            let digests = board.digests();
            texts.retain(|digest, _| digests.contains(digest.as_str()));
            digests.into_iter().filter(|digest| !texts.contains_key(*digest)).map(str::to_owned).collect()
        };
        for of in lacking {
            let Some(text) = self.fetch(&of).await? else {
                self.complain_of(&of);
                self.step(|board, at| board.lose(&of, at)).await?;
                return Ok(None);
            };
            let texts = &mut self.seen().records.texts;
            let bytes = texts.values().map(|text| text.len()).sum::<usize>() + text.len();
            if bytes > MOST_BYTES {
                return Err(StepError::LongRecords(bytes, MOST_BYTES).into());
            }
            texts.insert(of, text);
        }
        let texts = self.seen().records.texts.clone();
        let unread = |instance: &str, error| {
            tracing::warn!("what server {instance} serves is not taken into account: {error}");
        };
        let record = |instance: &str, digest: &str| {
            Record::read(texts.get(digest)?).inspect_err(|error| unread(instance, error.to_string())).ok()
        };
        Ok(Some(board.heard_by(record)))
    }

    fn complain_of(&self, lost: &str) {
        let line =
            format!("what was said is forgotten, for the pool lost record {lost}: servers say it again");
        self.memcached.home.complain(&line);
    }

    /// The record of that digest. What is not of that digest is none.
    async fn fetch(&self, of: &str) -> Result<Option<Arc<str>>, PoolError> {
        let (bytes, _) = self.value(&self.record_name(of)).await?;
        let text = bytes.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
        Ok(text.filter(|text| digest(text) == of).map(Arc::from))
    }

    /// Has the records of the board stay, and puts back what is gone and known here, once a second.
    pub(super) async fn keep_warm(&self, board: &Board) -> Result<(), PoolError> {
        let texts = {
            let records = &mut self.seen().records;
            if !records.looked.is_due(LOOKED, Instant::now()) {
                return Ok(());
            }
            let digests = board.digests();
            let known = records.texts.iter().filter(|(digest, _)| digests.contains(digest.as_str()));
            known.map(|(digest, text)| (digest.clone(), text.clone())).collect::<Vec<_>>()
        };
        let mut commands = Vec::new();
        for (digest, _) in &texts {
            wire::touch(&mut commands, &self.record_name(digest), KEPT);
        }
        if texts.is_empty() {
            return Ok(());
        }
        let there = self.ask(commands, texts.len()).await?;
        for ((digest, text), there) in texts.iter().zip(there) {
            if there == Reply::Missing {
                let mut commands = Vec::new();
                wire::set(&mut commands, &self.record_name(digest), text.as_bytes(), KEPT, If::Missing);
                self.ask_one(commands).await?;
            }
        }
        Ok(())
    }
}
