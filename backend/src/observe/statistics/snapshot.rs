//! The counters of a version -> Triton's statistics extension.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Statistics;
use super::count::nanos;
use crate::proto::{InferBatchStatistics, InferStatistics, MemoryUsage, ModelStatistics, StatisticDuration};

impl Statistics {
    fn memory_usage(&self) -> Vec<MemoryUsage> {
        let cpu = MemoryUsage { r#type: "CPU".to_owned(), id: 0, byte_size: self.memory_bytes };
        let gpus = self.gpu_bytes().into_iter().map(|(gpu, bytes)| MemoryUsage {
            r#type: "GPU".to_owned(),
            id: i64::from(gpu),
            byte_size: bytes as u64,
        });
        std::iter::once(cpu).chain(gpus).collect()
    }

    /// As Triton's statistics extension tells it.
    pub(crate) fn snapshot(&self, model: &str, version: &str) -> ModelStatistics {
        let batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        let batch_stats = batches.iter().map(|(&rows, batches)| {
            let of = |time: Duration| Some(StatisticDuration { count: batches.count, ns: nanos(time) });
            InferBatchStatistics {
                batch_size: rows,
                compute_input: of(batches.compute.input),
                compute_infer: of(batches.compute.infer),
                compute_output: of(batches.compute.output),
            }
        });
        ModelStatistics {
            name: model.to_owned(),
            version: version.to_owned(),
            last_inference: self.last_ms.load(Ordering::Relaxed),
            inference_count: self.inferences.get(),
            execution_count: self.executions.get(),
            inference_stats: Some(InferStatistics {
                success: Some(self.success.get()),
                fail: Some(self.fail.get()),
                queue: Some(self.queue.get()),
                compute_input: Some(self.compute_input.get()),
                compute_infer: Some(self.compute_infer.get()),
                compute_output: Some(self.compute_output.get()),
                cache_hit: Some(self.hit.get()),
                cache_miss: Some(self.miss.get()),
            }),
            batch_stats: batch_stats.collect(),
            memory_usage: self.memory_usage(),
            ..ModelStatistics::default()
        }
    }
}
