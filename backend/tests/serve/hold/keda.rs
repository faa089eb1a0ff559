//! What KEDA's operator asks of an external scaler.

use tokio::runtime::Runtime;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::grpc::{Channel, call, channel_at};
pub(super) use proto::{IsActiveResponse, ScaledObjectRef};

/// Written by the build script.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, dead_code)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/externalscaler.rs"));
}

const SERVICE: &str = "/externalscaler.ExternalScaler";

/// A trigger, as KEDA has it.
pub(super) struct Keda {
    channel: Channel,
    metadata: Vec<(String, String)>,
}

impl Keda {
    pub(super) fn at(port: u16, metadata: &[(&str, &str)]) -> Self {
        let metadata = metadata.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Self { channel: channel_at(port), metadata }
    }

    fn about(&self) -> ScaledObjectRef {
        ScaledObjectRef {
            name: "backend".into(),
            namespace: "serving".into(),
            scaler_metadata: self.metadata.iter().cloned().collect(),
        }
    }

    /// Whether the service is active, told whenever that changes.
    pub(super) async fn stream(&mut self) -> Result<Streaming<IsActiveResponse>, Status> {
        self.channel.ready().await.unwrap();
        let path = format!("{SERVICE}/StreamIsActive").parse().unwrap();
        let codec = ProstCodec::<ScaledObjectRef, IsActiveResponse>::default();
        let asked = Request::new(self.about());
        Ok(self.channel.server_streaming(asked, path, codec).await?.into_inner())
    }

    /// Whether it is now.
    pub(super) async fn is_active(&mut self) -> Result<bool, Status> {
        let asked = Request::new(self.about());
        let answered: IsActiveResponse =
            call(&mut self.channel, &format!("{SERVICE}/IsActive"), asked).await?;
        Ok(answered.result)
    }

    /// Metrics, and what one replica takes of each.
    pub(super) async fn specs(&mut self) -> Result<Vec<(String, f64)>, Status> {
        let asked = Request::new(self.about());
        let answered: proto::GetMetricSpecResponse =
            call(&mut self.channel, &format!("{SERVICE}/GetMetricSpec"), asked).await?;
        Ok(answered.metric_specs.into_iter().map(|spec| (spec.metric_name, spec.target_size_float)).collect())
    }

    pub(super) async fn metric(&mut self, name: &str) -> Result<f64, Status> {
        let object = Some(self.about());
        let asked = proto::GetMetricsRequest { scaled_object_ref: object, metric_name: name.into() };
        let path = format!("{SERVICE}/GetMetrics");
        let answered: proto::GetMetricsResponse = call(&mut self.channel, &path, Request::new(asked)).await?;
        Ok(answered.metric_values[0].metric_value_float)
    }
}

/// The same for who waits for each answer.
pub(super) struct Asking {
    keda: Keda,
    pub(super) runtime: Runtime,
}

impl Asking {
    pub(super) fn at(port: u16, metadata: &[(&str, &str)]) -> Self {
        Self { keda: Keda::at(port, metadata), runtime: Runtime::new().unwrap() }
    }

    pub(super) fn stream(&mut self) -> Result<Streaming<IsActiveResponse>, Status> {
        self.runtime.block_on(self.keda.stream())
    }

    /// What is told next.
    pub(super) fn next(&self, told: &mut Streaming<IsActiveResponse>) -> bool {
        self.runtime.block_on(told.message()).unwrap().unwrap().result
    }

    pub(super) fn is_active(&mut self) -> bool {
        self.runtime.block_on(self.keda.is_active()).unwrap()
    }

    pub(super) fn specs(&mut self) -> Result<Vec<(String, f64)>, Status> {
        self.runtime.block_on(self.keda.specs())
    }

    pub(super) fn metric(&mut self, name: &str) -> Result<f64, Status> {
        self.runtime.block_on(self.keda.metric(name))
    }
}
