//! A request that an upstream must answer: it goes there, and its result into the pool and back, as a session's does. Errors are the
//! upstream's own and are nobody else's: who waited for the same asks for itself.

use std::time::Instant;

use forebay_protocol::messages::ModelInferResponse;
use tokio::sync::oneshot;

use super::InferError;
use super::work::Asked;
use crate::models::remote::Remote;
use crate::observe::statistics::Compute;
use crate::schedule::RunError;
use crate::schedule::answers::Done;
use crate::schedule::given::Given;

impl Asked {
    /// Asks the upstream. What others wait for, or find later, goes on though its client leaves.
    ///
    /// # Errors
    /// `Run` and `Lost`.
    pub(super) async fn by_upstream(self, remote: &Remote) -> Result<Done, InferError> {
        if self.keep.is_none() && self.lead.is_none() {
            return Ok(self.asked_of(remote).await?);
        }
        let (remote, (reply, answer)) = (remote.clone(), oneshot::channel());
        tokio::spawn(async move {
            // Its client may have left.
            let _ = reply.send(self.asked_of(&remote).await);
        });
        Ok(answer.await.map_err(|_| InferError::Lost)??)
    }

    async fn asked_of(mut self, remote: &Remote) -> Result<Done, RunError> {
        let (request, passed) = (std::mem::take(&mut self.request), std::mem::take(&mut self.passed));
        let began = Instant::now();
        let answered = remote.upstream.infer(request, passed, self.deadline).await;
        let compute = Compute { infer: began.elapsed(), ..Compute::default() };
        let done = match answered {
            Err(error) => Err(error.into()),
            Ok(response) => {
                self.version.statistics.executed(1, 1, &compute);
                let cost_us = u64::try_from(compute.infer.as_micros()).unwrap_or(u64::MAX);
                let (response, stored) = if self.is_of_version(&response) && remote.is_sure().await {
                    self.keep(response, cost_us)
                } else {
                    (Given::Own(response), false)
                };
                Ok(Done { response, cost_us, stored })
            }
        };
        self.tell(&done);
        done
    }

    /// Whether the answer says that it is of this version, where both say one.
    fn is_of_version(&self, response: &ModelInferResponse) -> bool {
        let (said, ours) = (&response.model_version, &self.version.number);
        said == ours || said.is_empty() || ours.is_empty()
    }
}
