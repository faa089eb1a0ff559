//! `config.pbtxt` -> how requests of a model wait and which may run as one: Triton's `dynamic_batching`. Next: `queue`
//! goes by it.

use std::time::Duration;

use crate::config::{ModelConfig, SchedulingChoice};
use crate::proto::ModelQueuePolicy;
use crate::proto::model_queue_policy::TimeoutAction;

/// More levels than this are taken for a mistake: each has a queue of its own.
const MOST_LEVELS: u64 = 1024;

/// `dynamic_batching` that refuses its model.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum BatchingError {
    #[error("dynamic_batching: preferred_batch_size {size} must be from 1 to max_batch_size, {most}")]
    Preferred { size: i32, most: i32 },
    #[error("dynamic_batching: priority_levels is {levels}, must be at most {MOST_LEVELS}")]
    Levels { levels: u64 },
    #[error(
        "dynamic_batching: default_priority_level is {level}, must be from 1 to priority_levels, {levels}"
    )]
    DefaultLevel { level: u64, levels: u64 },
    #[error(
        "dynamic_batching: priority_queue_policy is for level {level}, must be from 1 to priority_levels, {levels}"
    )]
    PolicyLevel { level: u64, levels: u64 },
}

impl BatchingError {
    /// The field that is wrong.
    pub(crate) fn field(&self) -> String {
        match self {
            Self::Preferred { .. } => "dynamic_batching.preferred_batch_size".to_owned(),
            Self::Levels { .. } => "dynamic_batching.priority_levels".to_owned(),
            Self::DefaultLevel { .. } => "dynamic_batching.default_priority_level".to_owned(),
            Self::PolicyLevel { level, .. } => format!("dynamic_batching.priority_queue_policy[{level}]"),
        }
    }
}

/// How the requests of one version are queued and batched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batching {
    /// Rows of one batch; 1 when each request runs alone.
    pub(super) most_rows: u64,
    /// Ascending; a batch of such a size doesn't wait to grow.
    pub(super) preferred: Vec<u64>,
    /// How long the oldest request of a batch waits for others.
    pub(super) delay: Duration,
    /// Whether answers leave in the order of the requests.
    pub(super) keeps_order: bool,
    /// The most urgent first; at least one.
    pub(super) levels: Vec<QueuePolicy>,
    /// Index of the level of requests that don't say.
    default_level: usize,
}

/// How the requests of one level wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueuePolicy {
    /// Requests that may wait; 0 is without a bound of the level's own.
    pub(super) most_requests: usize,
    /// What becomes of a request whose time is over.
    pub(super) delays: bool,
    /// How long a request waits that doesn't say; `None` is for ever.
    timeout: Option<Duration>,
    /// Whether a request may ask for less.
    may_shorten: bool,
}

impl Batching {
    /// What the model's configuration says. Without `dynamic_batching` each request runs alone, in the order of arrival.
    ///
    /// # Errors
    /// Sizes and levels that contradict the rest.
    pub(crate) fn of(config: &ModelConfig) -> Result<Self, BatchingError> {
        let Some(SchedulingChoice::DynamicBatching(dynamic)) = &config.scheduling_choice else {
            return Ok(Self::alone());
        };
        let most = config.max_batch_size;
        if let Some(&size) = dynamic.preferred_batch_size.iter().find(|&&size| size < 1 || size > most) {
            return Err(BatchingError::Preferred { size, most });
        }
        let levels = dynamic.priority_levels;
        if levels > MOST_LEVELS {
            return Err(BatchingError::Levels { levels });
        }
        let level = dynamic.default_priority_level;
        if levels > 0 && !(1..=levels).contains(&level) {
            return Err(BatchingError::DefaultLevel { level, levels });
        }
        if let Some(&level) =
            dynamic.priority_queue_policy.keys().find(|&level| !(1..=levels).contains(level))
        {
            return Err(BatchingError::PolicyLevel { level, levels });
        }
        let default = dynamic.default_queue_policy.as_ref().map_or(QueuePolicy::PLAIN, QueuePolicy::of);
        let of_level = |level| dynamic.priority_queue_policy.get(&level).map_or(default, QueuePolicy::of);
        let mut preferred: Vec<u64> =
            dynamic.preferred_batch_size.iter().map(|size| u64::from(size.unsigned_abs())).collect();
        preferred.sort_unstable();
        Ok(Self {
            most_rows: u64::try_from(most).unwrap_or(0).max(1),
            preferred,
            delay: Duration::from_micros(dynamic.max_queue_delay_microseconds),
            keeps_order: dynamic.preserve_ordering,
            levels: (1..=levels.max(1)).map(of_level).collect(),
            default_level: index(level),
        })
    }

    fn alone() -> Self {
        Self {
            most_rows: 1,
            preferred: Vec::new(),
            delay: Duration::ZERO,
            keeps_order: false,
            levels: vec![QueuePolicy::PLAIN],
            default_level: 0,
        }
    }

    /// Whether requests may run together.
    pub(crate) fn batches(&self) -> bool {
        self.most_rows > 1
    }

    /// Index of the level for a request's `priority`: 1 is the most urgent; 0 and what is not there are the default.
    pub(super) fn level(&self, priority: u64) -> usize {
        let level = index(priority);
        if priority == 0 || level >= self.levels.len() { self.default_level } else { level }
    }
}

/// Levels count from 1.
fn index(level: u64) -> usize {
    usize::try_from(level.saturating_sub(1)).unwrap_or(usize::MAX)
}

impl QueuePolicy {
    /// Without a policy of the model's own: requests wait as long as they themselves say.
    const PLAIN: Self = Self { most_requests: 0, delays: false, timeout: None, may_shorten: true };

    fn of(policy: &ModelQueuePolicy) -> Self {
        let timeout = policy.default_timeout_microseconds;
        Self {
            most_requests: usize::try_from(policy.max_queue_size).unwrap_or(usize::MAX),
            delays: policy.timeout_action() == TimeoutAction::Delay,
            timeout: (timeout > 0).then(|| Duration::from_micros(timeout)),
            may_shorten: policy.allow_timeout_override,
        }
    }

    /// How long a request may wait that asks for `asked`.
    pub(super) fn timeout(&self, asked: Option<Duration>) -> Option<Duration> {
        let asked = asked.filter(|_| self.may_shorten);
        match (self.timeout, asked) {
            (Some(ours), Some(asked)) => Some(ours.min(asked)),
            (ours, asked) => ours.or(asked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ModelDynamicBatching;

    fn config(max_batch_size: i32, dynamic: ModelDynamicBatching) -> ModelConfig {
        let scheduling_choice = Some(SchedulingChoice::DynamicBatching(dynamic));
        ModelConfig { max_batch_size, scheduling_choice, ..ModelConfig::default() }
    }

    #[test]
    fn without_dynamic_batching_requests_run_alone() {
        let config = ModelConfig { max_batch_size: 8, ..ModelConfig::default() };
        assert!(!Batching::of(&config).unwrap().batches());
        let empty = Batching::of(&self::config(8, ModelDynamicBatching::default())).unwrap();
        assert!(empty.batches() && empty.delay.is_zero());
        assert!(!Batching::of(&self::config(0, ModelDynamicBatching::default())).unwrap().batches());
    }

    #[test]
    fn sizes_and_levels_that_contradict_are_named() {
        let of = ModelDynamicBatching::default;
        for (dynamic, expected) in [
            (ModelDynamicBatching { preferred_batch_size: vec![9], ..of() }, "preferred_batch_size 9"),
            (ModelDynamicBatching { preferred_batch_size: vec![0], ..of() }, "preferred_batch_size 0"),
            (ModelDynamicBatching { priority_levels: 2, ..of() }, "default_priority_level is 0"),
            (ModelDynamicBatching { priority_levels: 1 << 40, ..of() }, "priority_levels is"),
            (
                ModelDynamicBatching {
                    priority_queue_policy: [(1, ModelQueuePolicy::default())].into(),
                    ..of()
                },
                "for level 1",
            ),
        ] {
            let error = Batching::of(&config(8, dynamic)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_request_may_shorten_its_time_where_the_policy_lets_it() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let policy = |may_shorten| QueuePolicy { timeout: ms(10), may_shorten, ..QueuePolicy::PLAIN };
        assert_eq!(policy(true).timeout(ms(5)), ms(5));
        assert_eq!(policy(true).timeout(ms(50)), ms(10));
        assert_eq!(policy(false).timeout(ms(5)), ms(10));
        assert_eq!(QueuePolicy::PLAIN.timeout(None), None);
        assert_eq!(QueuePolicy::PLAIN.timeout(ms(7)), ms(7));
    }

    /// Of the fields of a policy, by the text of a configuration that has it.
    fn policies(text: &str) -> Vec<QueuePolicy> {
        let text = format!("max_batch_size: 8 dynamic_batching {{ {text} }}");
        let config = crate::config::parse(std::path::Path::new("c"), text.as_bytes(), "m").unwrap();
        Batching::of(&config).unwrap().levels
    }

    const POLICY: &str = "timeout_action: DELAY default_timeout_microseconds: 7 allow_timeout_override: true max_queue_size: 3";
    const AS_SAID: QueuePolicy = QueuePolicy {
        most_requests: 3,
        delays: true,
        timeout: Some(Duration::from_micros(7)),
        may_shorten: true,
    };

    #[test]
    fn a_policy_of_the_default_says_how_its_requests_wait() {
        assert_eq!(policies(&format!("default_queue_policy {{ {POLICY} }}")), [AS_SAID]);
        let plain = QueuePolicy { may_shorten: false, ..QueuePolicy::PLAIN };
        assert_eq!(policies("default_queue_policy { }"), [plain]);
    }

    #[test]
    fn a_policy_of_a_level_says_how_its_requests_wait() {
        let levels = "priority_levels: 2 default_priority_level: 1";
        let policy = format!("priority_queue_policy {{ key: 2 value {{ {POLICY} }} }}");
        assert_eq!(policies(&format!("{levels} {policy}")), [QueuePolicy::PLAIN, AS_SAID]);
    }

    #[test]
    fn unknown_priorities_are_the_default() {
        let dynamic =
            ModelDynamicBatching { priority_levels: 3, default_priority_level: 2, ..Default::default() };
        let batching = Batching::of(&config(8, dynamic)).unwrap();
        assert_eq!([0, 1, 2, 3, 4, u64::MAX].map(|priority| batching.level(priority)), [1, 0, 1, 2, 1, 1]);
    }
}
