//! The live generations in Redis: `serve` says what it serves once a second and at once when that changes; the gate
//! reads what all of them said. Times are Redis' own, so that clocks of machines don't matter.

use std::sync::Arc;
use std::time::Duration;

use forebay_protocol::generations::{LiveModel, Table};
use redis::aio::ConnectionManager;
use redis::{RedisError, RedisResult};
use tokio::sync::{oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{ALIVE, Heard, LiveTable, Record, live_models, millis, outdated};

/// A hash: instance -> "<milliseconds> <record as JSON>".
const INSTANCES: &str = "forebay:instances";
/// A hash: `epoch`, and the `digest` of the table it belongs to.
const EPOCH: &str = "forebay:epoch";
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often the gate reads: well below the filters' own poll, so that it adds little to their delay.
const READ: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(1);
/// Outdated records are looked for every so many heartbeats.
const BEATS_TO_SWEEP: u64 = 60;

/// KEYS: instances. ARGV: instance, record, milliseconds to date it back.
const SAY: &str = "
local t = redis.call('TIME')
local ms = t[1] * 1000 + math.floor(t[2] / 1000) - ARGV[3]
return redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', ms) .. ' ' .. ARGV[2])";

/// KEYS: epoch. ARGV: digest of the table. The epoch grows when the digest is another.
const COUNT: &str = "
local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
if redis.call('HGET', KEYS[1], 'digest') == ARGV[1] then return string.format('%.0f', epoch) end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local next = string.format('%.0f', math.max(epoch + 1, now))
redis.call('HSET', KEYS[1], 'epoch', next, 'digest', ARGV[1])
return next";

/// Says what this instance serves until `stop`, then dates itself back: others take over at once, and if there are
/// none, its generations stay the last ones. `done` is told when that is said.
pub(crate) async fn register(
    mut connection: ConnectionManager,
    instance: String,
    mut records: watch::Receiver<Record>,
    stop: CancellationToken,
    done: oneshot::Sender<()>,
) {
    let mut ticks = tokio::time::interval(HEARTBEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beats: u64 = 0;
    // Without --model-control-mode poll nobody is left to change anything; the heartbeat goes on.
    let mut may_change = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
            changed = records.changed(), if may_change => may_change = changed.is_ok(),
        }
        let record = records.borrow_and_update().clone();
        if let Err(error) = say(&mut connection, &instance, &record, Duration::ZERO).await {
            tracing::debug!("heartbeat: {error}");
        }
        if beats.is_multiple_of(BEATS_TO_SWEEP)
            && let Err(error) = sweep(&mut connection).await
        {
            tracing::debug!("sweep: {error}");
        }
        beats += 1;
    }
    let record = records.borrow().clone();
    if let Err(error) = say(&mut connection, &instance, &record, ALIVE + HEARTBEAT).await {
        tracing::debug!("farewell: {error}");
    }
    // The end of the program may not wait for it.
    let _ = done.send(());
}

async fn say(
    connection: &mut ConnectionManager,
    instance: &str,
    record: &Record,
    ago: Duration,
) -> RedisResult<()> {
    let record = serde_json::to_string(record).map_err(|error| not_json(&error))?;
    let mut command = redis::cmd("EVAL");
    command.arg(SAY).arg(1).arg(INSTANCES).arg(instance).arg(record).arg(millis(ago));
    bounded(command.query_async(connection)).await
}

async fn sweep(connection: &mut ConnectionManager) -> RedisResult<()> {
    let (now_ms, heard) = hear(connection).await?;
    let gone = outdated(&heard, now_ms);
    if gone.is_empty() {
        return Ok(());
    }
    bounded(redis::cmd("HDEL").arg(INSTANCES).arg(gone).query_async(connection)).await
}

/// Keeps `table` as Redis has it, until `stop`.
pub(crate) async fn follow(
    mut connection: ConnectionManager,
    table: Arc<LiveTable>,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(READ);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match read(&mut connection).await {
            Ok(fresh) => table.set(fresh),
            Err(error) => tracing::debug!("generations: {error}"),
        }
    }
}

async fn read(connection: &mut ConnectionManager) -> RedisResult<Table> {
    let (now_ms, heard) = hear(connection).await?;
    let models = live_models(&heard, now_ms);
    let mut command = redis::cmd("EVAL");
    command.arg(COUNT).arg(1).arg(EPOCH).arg(digest(&models)?);
    let epoch: u64 = bounded(command.query_async(connection)).await?;
    Ok(Table { models, now_ms, ..Table::empty(epoch) })
}

/// What all instances said, and Redis' time.
async fn hear(connection: &mut ConnectionManager) -> RedisResult<(u64, Vec<Heard>)> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("TIME").cmd("HGETALL").arg(INSTANCES);
    let ((seconds, micros), said): ((u64, u64), Vec<(String, String)>) =
        bounded(pipeline.query_async(connection)).await?;
    let heard = said.into_iter().filter_map(|(instance, said)| parse(instance, &said)).collect();
    Ok((seconds * 1000 + micros / 1000, heard))
}

/// What can't be read was said by another release: it is left alone.
fn parse(instance: String, said: &str) -> Option<Heard> {
    let (beat_ms, record) = said.split_once(' ')?;
    Some(Heard { instance, beat_ms: beat_ms.parse().ok()?, record: serde_json::from_str(record).ok()? })
}

fn digest(models: &[LiveModel]) -> RedisResult<String> {
    let text = serde_json::to_vec(models).map_err(|error| not_json(&error))?;
    Ok(blake3::hash(&text).to_hex().to_string())
}

fn not_json(error: &serde_json::Error) -> RedisError {
    RedisError::from((redis::ErrorKind::Client, "can't be written as JSON", error.to_string()))
}

async fn bounded<T>(answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    tokio::time::timeout(PATIENCE, answer)
        .await
        .unwrap_or_else(|_| Err(RedisError::from((redis::ErrorKind::Io, "redis took longer than a second"))))
}
