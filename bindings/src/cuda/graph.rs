//! Work enters once, as a closure; a graph leaves, which puts all of it on a stream in one call, as often as wanted.

use std::sync::{Arc, Mutex, PoisonError};

use super::call::check;
use super::device::Device;
use super::error::CudaError;
use super::memory::{Access, Memory};
use super::order::Ordered;
use super::stream::{Stream, Ticket};
use super::sys::{CUgraph, CUgraphExec, cuda};

/// Captured work, ready to be put on a stream. One owner; used by any thread; threads take turns.
///
/// It keeps handles of the buffers that it uses and of the execution context that it was captured from, whose owner may go, unless
/// values of inputs lie in host memory there: then it can't be launched any more. Buffers may be lent to the host between launches;
/// they are the same ones at each.
///
/// It is of the shapes that its context had. Once the context takes others, or another profile, the graph can't be launched any
/// more, even if the context has the same ones again: TensorRT keeps a state in the context that the captured work relies on, and
/// says that it must be captured anew. So graphs of several shapes that shall be kept need a context each
/// ([`crate::Engine::graph_context`]), which may share scratch memory.
pub struct Graph {
    exec: CUgraphExec,
    device: Device,
    captured: Captured,
    last: Mutex<Option<Ticket>>,
}

// SAFETY: the driver takes its handles from any thread.
unsafe impl Send for Graph {}
// SAFETY: launches are made one at a time, by the mutex around the last.
unsafe impl Sync for Graph {}

/// What captured work uses.
#[derive(Default)]
pub(super) struct Captured {
    uses: Vec<(Arc<Memory>, Access)>,
    /// The execution context, and its epoch.
    ordered: Option<(Arc<dyn Ordered>, u64)>,
}

impl Captured {
    /// Notes what a piece of work uses.
    pub(super) fn keep<'a>(
        &mut self,
        uses: impl IntoIterator<Item = (&'a Arc<Memory>, Access)>,
        ordered: Option<&Arc<dyn Ordered>>,
        device: &Device,
    ) -> Result<(), CudaError> {
        for (memory, access) in uses {
            if memory.device() != device {
                return Err(CudaError::OtherDevice { what: "a buffer" });
            }
            self.uses.push((memory.clone(), access));
        }
        let Some(ordered) = ordered else { return Ok(()) };
        match &self.ordered {
            Some((other, _)) if !std::ptr::addr_eq(Arc::as_ptr(other), Arc::as_ptr(ordered)) => {
                Err(CudaError::Capturing { what: "a second execution context" })
            }
            Some((_, epoch)) if *epoch != ordered.epoch().number() => {
                Err(CudaError::Capturing { what: "a second shape" })
            }
            _ => {
                self.ordered = Some((ordered.clone(), ordered.epoch().captured()));
                Ok(())
            }
        }
    }
}

impl Stream {
    /// Captures the work that the closure puts on this stream, which is noted and not done. Work that the closure doesn't put on
    /// it is done as ever. What can't be captured, such as an allocation, is an error.
    ///
    /// # Errors
    /// The closure's, or the driver can't capture or instantiate the graph.
    pub fn capture<E: From<CudaError>>(&self, work: impl FnOnce(&Self) -> Result<(), E>) -> Result<Graph, E> {
        self.begin_capture()?;
        let ending = EndCapture(Some(self));
        let worked = work(self);
        let (template, captured) = ending.end();
        worked?;
        let exec = instantiate(&template?)?;
        Ok(Graph { exec, device: self.device().clone(), captured, last: Mutex::default() })
    }
}

/// Ends the capture even if the closure panics.
struct EndCapture<'a>(Option<&'a Stream>);

impl EndCapture<'_> {
    fn end(mut self) -> (Result<Template, CudaError>, Captured) {
        match self.0.take() {
            Some(stream) => end(stream),
            None => (Err(CudaError::Capturing { what: "a second end" }), Captured::default()),
        }
    }
}

impl Drop for EndCapture<'_> {
    fn drop(&mut self) {
        if let Some(stream) = self.0 {
            drop(end(stream));
        }
    }
}

fn end(stream: &Stream) -> (Result<Template, CudaError>, Captured) {
    let (graph, captured) = stream.end_capture();
    (graph.map(Template), captured)
}

/// A captured graph, which can't be launched itself. One owner.
struct Template(CUgraph);

impl Drop for Template {
    fn drop(&mut self) {
        // SAFETY: it has no other owner; instances don't need it. A failure leaves nothing to do.
        let _ = unsafe { cuda().cuGraphDestroy(self.0) };
    }
}

fn instantiate(template: &Template) -> Result<CUgraphExec, CudaError> {
    let mut exec: CUgraphExec = std::ptr::null_mut();
    // SAFETY: the graph lives; the driver writes to a place that lives.
    let result = unsafe { cuda().cuGraphInstantiateWithFlags(&raw mut exec, template.0, 0) };
    check("cuGraphInstantiate", result)?;
    Ok(exec)
}

impl Graph {
    /// Puts the captured work on the stream. Launches of one graph are done one after another.
    ///
    /// # Errors
    /// [`CudaError::Stale`]: its execution context took other shapes, or went with values in host memory. Or a buffer is in use, the stream is of another GPU, or the
    /// driver fails.
    pub fn launch(&self, stream: &Stream) -> Result<(), CudaError> {
        if stream.device() != &self.device {
            return Err(CudaError::OtherDevice { what: "the graph" });
        }
        if stream.is_capturing() {
            return Err(CudaError::Capturing { what: "a graph in a graph" });
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let ordered = self.captured.ordered.as_ref();
        let turn = ordered.map(|(context, _)| (context, context.order().lock()));
        // From here to the launch the context can't change.
        if ordered.is_some_and(|(context, epoch)| context.epoch().number() != *epoch) {
            return Err(CudaError::Stale);
        }
        let uses = self.captured.uses.iter().map(|(memory, access)| (memory, *access));
        let launched = stream.put(turn, uses, |raw| {
            // SAFETY: the graph lives, with all that it uses, which is claimed.
            check("cuGraphLaunch", unsafe { cuda().cuGraphLaunch(self.exec, raw) })
        })?;
        *last = launched;
        Ok(())
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let last = self.last.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // A launch that failed for good needs no wait.
        let _ = last.map(|last| last.wait());
        if self.device.bind().is_ok() {
            // SAFETY: it has no other owner and its launches are done.
            let _ = unsafe { cuda().cuGraphExecDestroy(self.exec) };
        }
    }
}
