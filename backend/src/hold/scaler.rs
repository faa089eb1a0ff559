//! KEDA's external scaler: whether the service wants any backend, said at once whenever that changes, and how much there is to do for how
//! many. The loads that `load` finds enter.

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::load::Load;
use crate::proto::scaler::external_scaler_server::{ExternalScaler, ExternalScalerServer};
use crate::proto::scaler::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec, MetricValue,
    ScaledObjectRef,
};

/// Requests that wait or are in progress; and compute time a second.
pub(super) const REQUESTS: &str = "forebay-requests";
pub(super) const BUSY: &str = "forebay-busy";
/// What one replica takes of each, unless the trigger's metadata say it by these names.
const REQUESTS_EACH: (&str, f64) = ("requests", 16.0);
const BUSY_EACH: (&str, f64) = ("busy", 0.8);
/// Streams at a time: KEDA's operator has one a trigger.
const STREAMS: usize = 64;
/// Of a message: names and metadata of a trigger.
const MOST_BYTES: usize = 64 << 10;
/// Characters that an error shows of what was asked.
const SHOWN: usize = 64;

/// The scaler.
struct Scaler {
    load: watch::Receiver<Load>,
    streams: Arc<Semaphore>,
    /// Cancelled once the gate ends.
    ending: CancellationToken,
}

/// Its routes.
pub(crate) fn routes(load: watch::Receiver<Load>, ending: CancellationToken) -> Router {
    let scaler = Scaler { load, streams: Arc::new(Semaphore::new(STREAMS)), ending };
    let server = ExternalScalerServer::new(scaler).max_decoding_message_size(MOST_BYTES);
    Routes::new(server).into_axum_router()
}

#[tonic::async_trait]
impl ExternalScaler for Scaler {
    type StreamIsActiveStream = Pin<Box<dyn Stream<Item = Result<IsActiveResponse, Status>> + Send>>;

    async fn is_active(&self, _: Request<ScaledObjectRef>) -> Result<Response<IsActiveResponse>, Status> {
        Ok(Response::new(IsActiveResponse { result: self.load.borrow().is_active }))
    }

    async fn stream_is_active(
        &self,
        _: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        let place = self.streams.clone().try_acquire_owned();
        let place =
            place.map_err(|_| Status::resource_exhausted(format!("{STREAMS} streams are open already")))?;
        let (load, ending) = (self.load.clone(), self.ending.clone());
        let told = futures_util::stream::unfold((load, None, place), |(mut load, told, place)| async move {
            loop {
                let is_active = load.borrow_and_update().is_active;
                if told != Some(is_active) {
                    let answer = IsActiveResponse { result: is_active };
                    return Some((Ok(answer), (load, Some(is_active), place)));
                }
                load.changed().await.ok()?;
            }
        });
        Ok(Response::new(Box::pin(told.take_until(ending.cancelled_owned()))))
    }

    async fn get_metric_spec(
        &self,
        asked: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        let metadata = &asked.get_ref().scaler_metadata;
        let spec = |name: &str, (key, by_default): (&str, f64)| {
            let each = metadata.get(key).map_or(Ok(by_default), |text| {
                let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
                number.ok_or_else(|| {
                    Status::invalid_argument(format!(
                        "{key}: {:?}: expected a number above 0, as {by_default}",
                        shown(text)
                    ))
                })
            })?;
            let target_size = whole(each);
            Ok::<_, Status>(MetricSpec { metric_name: name.to_owned(), target_size, target_size_float: each })
        };
        let metric_specs = vec![spec(REQUESTS, REQUESTS_EACH)?, spec(BUSY, BUSY_EACH)?];
        Ok(Response::new(GetMetricSpecResponse { metric_specs }))
    }

    async fn get_metrics(
        &self,
        asked: Request<GetMetricsRequest>,
    ) -> Result<Response<GetMetricsResponse>, Status> {
        let asked = asked.into_inner();
        let load = *self.load.borrow();
        // KEDA puts a number and the trigger's name before it.
        let value = if asked.metric_name.ends_with(REQUESTS) {
            load.requests().unwrap_or(0) as f64
        } else if asked.metric_name.ends_with(BUSY) {
            load.busy.unwrap_or(0.0)
        } else {
            let name = shown(&asked.metric_name);
            return Err(Status::invalid_argument(format!("{name:?}: expected {REQUESTS} or {BUSY}")));
        };
        let metric_value = whole(value);
        let value = MetricValue { metric_name: asked.metric_name, metric_value, metric_value_float: value };
        Ok(Response::new(GetMetricsResponse { metric_values: vec![value] }))
    }
}

/// The beginning of what was asked: an error is a header of its answer.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// For those who read whole numbers alone.
#[allow(clippy::cast_possible_truncation)] // `as` saturates
fn whole(value: f64) -> i64 {
    value.ceil() as i64
}
