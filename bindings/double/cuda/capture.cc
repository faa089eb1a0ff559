// Capture and graphs. What a captured stream is given is kept, with the addresses as they were, and done in
// the same order at every launch. What may not be called during a capture gives the driver's errors and
// spoils the capture. Graphs can only be made by capture; there are no nodes to look at or change.
#include <algorithm>

#include "control.h"
#include "kernel.h"
#include "pinned.h"
#include "state.h"

namespace device {
namespace {

// How the calling thread looks at the captures of others: cuThreadExchangeStreamCaptureMode.
thread_local CUstreamCaptureMode thread_mode = CAPTURE_GLOBAL;

bool forbids(const Capture& capture) {
  if (thread_mode == CAPTURE_RELAXED || capture.mode == CAPTURE_RELAXED) return false;
  if (capture.thread == std::this_thread::get_id()) return true;
  return capture.mode == CAPTURE_GLOBAL && thread_mode == CAPTURE_GLOBAL;
}

}  // namespace

void leave_capture(std::shared_ptr<Capture> capture) {
  auto& all = state();
  for (const auto& stream : all.streams.all()) {
    if (stream->capture == capture) stream->capture.reset();
  }
  all.captures.erase(std::remove(all.captures.begin(), all.captures.end(), capture), all.captures.end());
}

CUresult forbidden_by_capture() {
  auto error = CUDA_SUCCESS;
  for (const auto& capture : state().captures) {
    if (!forbids(*capture)) continue;
    capture->invalid = true;
    error = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  return error;
}

}  // namespace device

using device::Lock;
using device::state;

CUresult cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
  FOREBAY_BEGIN("cuStreamBeginCapture_v2");
  Lock lock(state().lock);
  device::Context* context = nullptr;
  if (const auto error = device::usable(context)) return error;
  const auto stream = device::find_stream(handle, *context);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->is_default) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
  auto capture = std::make_shared<device::Capture>();
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  capture->origin = stream.get();
  stream->capture = capture;
  state().captures.push_back(std::move(capture));
  return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph* graph) {
  const auto refused = device::begin("cuStreamEndCapture");
  *graph = nullptr;
  Lock lock(state().lock);
  const auto stream = state().streams.find(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  const auto capture = stream->capture;
  if (!capture) return CUDA_ERROR_ILLEGAL_STATE;
  if (capture->origin != stream.get()) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  if (capture->mode != CAPTURE_RELAXED && capture->thread != std::this_thread::get_id()) {
    return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  }
  device::leave_capture(capture);
  if (refused) return refused;
  if (stream->context->error) return stream->context->error;
  if (capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (!capture->forked.empty()) return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
  auto made = std::make_shared<device::Graph>();
  made->work = std::move(capture->work);
  *graph = state().graphs.add(std::move(made));
  control::alive("graph", 1);
  return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus* status) {
  FOREBAY_BEGIN("cuStreamIsCapturing");
  Lock lock(state().lock);
  device::Context* context = nullptr;
  if (const auto error = device::usable(context)) return error;
  const auto stream = device::find_stream(handle, *context);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  *status = !stream->capture ? CAPTURE_NONE : stream->capture->invalid ? CAPTURE_INVALIDATED : CAPTURE_ACTIVE;
  return CUDA_SUCCESS;
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
  FOREBAY_BEGIN("cuThreadExchangeStreamCaptureMode");
  std::swap(*mode, device::thread_mode);
  return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph handle, unsigned long long) {
  FOREBAY_BEGIN("cuGraphInstantiateWithFlags");
  Lock lock(state().lock);
  device::Context* context = nullptr;
  if (const auto error = device::usable(context)) return error;
  const auto graph = state().graphs.find(handle);
  if (!graph) return CUDA_ERROR_INVALID_HANDLE;
  *exec = state().execs.add(std::make_shared<device::Graph>(*graph));
  control::alive("graph_exec", 1);
  return CUDA_SUCCESS;
}

CUresult cuGraphUpload(CUgraphExec handle, CUstream stream_handle) {
  FOREBAY_BEGIN("cuGraphUpload");
  Lock lock(state().lock);
  device::Context* context = nullptr;
  if (const auto error = device::usable(context)) return error;
  const bool known = state().execs.find(handle) && device::find_stream(stream_handle, *context);
  return known ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
  FOREBAY_BEGIN("cuGraphLaunch");
  Lock lock(state().lock);
  device::Context* context = nullptr;
  if (const auto error = device::usable(context)) return error;
  const auto exec = state().execs.find(handle);
  const auto stream = device::find_stream(stream_handle, *context);
  if (!exec || !stream) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->capture) {
    stream->capture->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  const auto end = std::make_shared<device::Marker>();
  device::push(*stream, {"cuGraphLaunch", nullptr, exec->last_launch, nullptr, {}});
  for (const auto& work : exec->work) device::push(*stream, work);
  device::push(*stream, {"", nullptr, nullptr, end, {}});
  exec->last_launch = end;
  return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec handle) {
  const auto refused = device::begin("cuGraphExecDestroy");
  Lock lock(state().lock);
  if (!state().execs.take(handle)) return CUDA_ERROR_INVALID_HANDLE;
  control::alive("graph_exec", -1);
  return refused;
}

CUresult cuGraphDestroy(CUgraph handle) {
  const auto refused = device::begin("cuGraphDestroy");
  Lock lock(state().lock);
  if (!state().graphs.take(handle)) return CUDA_ERROR_INVALID_HANDLE;
  control::alive("graph", -1);
  return refused;
}
