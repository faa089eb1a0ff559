//! Which requests are traced: settings of the server and of models, as Triton's trace extension reads and changes them, and the
//! counts of what they sample.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::class::Class;
use crate::proto::trace_setting_response::SettingValue;
use crate::proto::{TraceSettingRequest, TraceSettingResponse};
use crate::settings::{Sampling, trace_level};

/// Triton's name of the setting that says what is traced; the only one with several values.
pub(crate) const TRACE_LEVEL: &str = "trace_level";
const TRACE_RATE: &str = "trace_rate";
const TRACE_COUNT: &str = "trace_count";
const TRACE_MODE: &str = "trace_mode";
/// Triton's settings of files, which are not written.
const OF_FILES: [&str; 2] = ["trace_file", "log_frequency"];

/// A setting that is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TraceError {
    #[error("{TRACE_LEVEL} {level:?} is not supported; TIMESTAMPS and OFF are")]
    Level { level: String },
    #[error("nothing can be traced: the server was started without --trace-config mode=opentelemetry")]
    NoCollector,
    #[error("{name} is not supported: traces go to a collector, and into no file")]
    File { name: String },
    #[error("{name:?} is no setting of traces; {TRACE_LEVEL}, {TRACE_RATE} and {TRACE_COUNT} are")]
    Name { name: String },
    #[error("{name} {value:?} can't be used: {expected} is expected")]
    Value { name: &'static str, value: String, expected: &'static str },
}

impl TraceError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Level { .. } | Self::NoCollector | Self::File { .. } => Class::Unimplemented,
            Self::Name { .. } | Self::Value { .. } => Class::Wrong,
        }
    }
}

/// The settings in effect.
pub(super) struct Settings {
    /// What the server was started with.
    first: Sampling,
    has_collector: bool,
    table: ArcSwap<Table>,
    changes: Mutex<()>,
    /// Anything may be traced: asked before all else.
    is_on: AtomicBool,
}

#[derive(Clone)]
struct Table {
    server: Own,
    models: HashMap<String, Own>,
}

/// What is said for the server or a model; `None`: what is said for the server, or at its start.
#[derive(Default, Clone)]
struct Own {
    is_on: Option<bool>,
    rate: Option<Arc<Rate>>,
    left: Option<Arc<AtomicI64>>,
}

struct Rate {
    every: u64,
    seen: AtomicU64,
}

impl Own {
    fn of(sampling: Sampling) -> Self {
        Self {
            is_on: Some(sampling.is_on),
            rate: Some(Rate::of(sampling.rate)),
            left: Some(Arc::new(AtomicI64::new(sampling.count))),
        }
    }

    fn has_nothing(&self) -> bool {
        self.is_on.is_none() && self.rate.is_none() && self.left.is_none()
    }
}

impl Rate {
    fn of(every: u64) -> Arc<Self> {
        Arc::new(Self { every, seen: AtomicU64::new(0) })
    }

    fn takes_next(&self) -> bool {
        let number = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        self.every > 0 && number.is_multiple_of(self.every)
    }
}

/// Takes one of those that are left.
fn take_one(left: &AtomicI64) -> bool {
    let fewer = |left| match left {
        0 => None,
        left if left < 0 => Some(left),
        left => Some(left - 1),
    };
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok()
}

impl Settings {
    pub(super) fn new(first: Sampling, has_collector: bool) -> Self {
        let table = Table { server: Own::of(first), models: HashMap::new() };
        let is_on = AtomicBool::new(table.is_on());
        Self { first, has_collector, table: ArcSwap::from_pointee(table), changes: Mutex::new(()), is_on }
    }

    /// Whether anything may be traced.
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Whether a request to `model` is traced; `sampled` is what the trace says that it comes with.
    pub(super) fn traces(&self, model: &str, sampled: Option<bool>) -> bool {
        let table = self.table.load();
        let Table { server, .. } = &**table;
        let own = table.models.get(model).unwrap_or(server);
        if !own.is_on.or(server.is_on).unwrap_or_default() {
            return false;
        }
        if let Some(sampled) = sampled {
            return sampled;
        }
        let (Some(rate), Some(left)) =
            (own.rate.as_ref().or(server.rate.as_ref()), own.left.as_ref().or(server.left.as_ref()))
        else {
            return false;
        };
        rate.takes_next() && take_one(left)
    }

    /// Changes what is asked for, all or nothing, and tells what is in effect.
    pub(super) fn take(&self, asked: &TraceSettingRequest) -> Result<TraceSettingResponse, TraceError> {
        let _one_at_a_time = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.table.load());
        let model = asked.model_name.as_str();
        let mut own = match model {
            "" => table.server.clone(),
            _ => table.models.get(model).cloned().unwrap_or_default(),
        };
        for (name, setting) in &asked.settings {
            self.change(&mut own, model, name, &setting.value)?;
        }
        if model.is_empty() {
            table.server = own;
        } else if own.has_nothing() {
            table.models.remove(model);
        } else {
            table.models.insert(model.to_owned(), own);
        }
        let told = table.told(model);
        if !asked.settings.is_empty() {
            self.is_on.store(table.is_on(), Ordering::Relaxed);
            self.table.store(Arc::new(table));
        }
        Ok(told)
    }

    /// No value takes a setting back: to that of the server, or to that of its start.
    fn change(&self, own: &mut Own, model: &str, name: &str, values: &[String]) -> Result<(), TraceError> {
        let first = if model.is_empty() { Own::of(self.first) } else { Own::default() };
        match name {
            TRACE_LEVEL => own.is_on = self.level(values)?.or(first.is_on),
            TRACE_RATE => {
                let rate = number(TRACE_RATE, values, "a whole number from 0 on")?;
                own.rate = rate.map(Rate::of).or(first.rate);
            }
            TRACE_COUNT => {
                const EXPECTED: &str = "a whole number, -1 for no end,";
                let count: Option<i64> = number(TRACE_COUNT, values, EXPECTED)?;
                if let Some(count @ ..-1) = count {
                    let value = count.to_string();
                    return Err(TraceError::Value { name: TRACE_COUNT, value, expected: EXPECTED });
                }
                own.left = count.map(|count| Arc::new(AtomicI64::new(count))).or(first.left);
            }
            _ if OF_FILES.contains(&name) && values.is_empty() => {}
            _ if OF_FILES.contains(&name) => return Err(TraceError::File { name: name.to_owned() }),
            _ => return Err(TraceError::Name { name: name.to_owned() }),
        }
        Ok(())
    }

    fn level(&self, values: &[String]) -> Result<Option<bool>, TraceError> {
        let mut is_on = None;
        for level in values {
            let wrong = |_| TraceError::Level { level: level.clone() };
            is_on = Some(is_on.unwrap_or_default() | trace_level(level).map_err(wrong)?);
        }
        if is_on == Some(true) && !self.has_collector {
            return Err(TraceError::NoCollector);
        }
        Ok(is_on)
    }
}

impl Table {
    /// Whether anything may be traced.
    fn is_on(&self) -> bool {
        [&self.server].into_iter().chain(self.models.values()).any(|own| own.is_on == Some(true))
    }

    /// All settings of the model, or of the server.
    fn told(&self, model: &str) -> TraceSettingResponse {
        let server = &self.server;
        let own = self.models.get(model).unwrap_or(server);
        let is_on = own.is_on.or(server.is_on).unwrap_or_default();
        let rate = own.rate.as_ref().or(server.rate.as_ref()).map_or(0, |rate| rate.every);
        let left = own.left.as_ref().or(server.left.as_ref());
        let left = left.map_or(0, |left| left.load(Ordering::Relaxed));
        let settings = [
            (TRACE_LEVEL, if is_on { "TIMESTAMPS" } else { "OFF" }.to_owned()),
            (TRACE_RATE, rate.to_string()),
            (TRACE_COUNT, left.to_string()),
            (TRACE_MODE, "opentelemetry".to_owned()),
        ];
        let told = settings.map(|(name, value)| (name.to_owned(), SettingValue { value: vec![value] }));
        TraceSettingResponse { settings: told.into() }
    }
}

fn number<T: std::str::FromStr>(
    name: &'static str,
    values: &[String],
    expected: &'static str,
) -> Result<Option<T>, TraceError> {
    let wrong = |value: String| TraceError::Value { name, value, expected };
    match values {
        [] => Ok(None),
        [value] => value.parse().map(Some).map_err(|_| wrong(value.clone())),
        _ => Err(wrong(values.join(","))),
    }
}

#[cfg(test)]
mod tests;
