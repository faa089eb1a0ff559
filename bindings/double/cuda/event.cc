// Events: a point in a stream's order that host and streams can wait for. One that was recorded in a capture
// has no point in time; it only says which work comes first.
#include <algorithm>

#include "control.h"
#include "kernel.h"
#include "pinned.h"
#include "state.h"

namespace device {

CUresult record(Event& event, Stream& stream) {
  if (stream.capture) {
    if (stream.capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    event.capture = stream.capture;
    event.captured_on = &stream;
    return CUDA_SUCCESS;
  }
  event.capture.reset();
  event.last = std::make_shared<Marker>();
  return push(stream, {"cuEventRecord", nullptr, nullptr, event.last, {}});
}

namespace {

// An event that the host may ask for, or why not.
CUresult find_event(CUevent handle, std::shared_ptr<Event>& event) {
  Context* context = nullptr;
  if (const auto error = usable(context)) return error;
  event = state().events.find(handle);
  return event ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult find_recorded(CUevent handle, std::shared_ptr<Event>& event) {
  if (const auto error = find_event(handle, event)) return error;
  if (const auto capture = event->capture.lock()) {
    capture->invalid = true;
    return CUDA_ERROR_CAPTURED_EVENT;
  }
  return forbidden_by_capture();
}

// A wait for an event of a capture: the stream joins it, or its work is joined by the stream.
CUresult wait_in_capture(Stream& stream, const Event& event) {
  const auto capture = event.capture.lock();
  if (!capture) {
    // An event from outside would be work that the graph can't contain.
    stream.capture->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  }
  if (capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (stream.capture && stream.capture != capture) return CUDA_ERROR_STREAM_CAPTURE_MERGE;
  if (!stream.capture) {
    stream.capture = capture;
    capture->forked.push_back(&stream);
  }
  auto& forked = capture->forked;
  if (event.captured_on != &stream)
    forked.erase(std::remove(forked.begin(), forked.end(), event.captured_on), forked.end());
  return CUDA_SUCCESS;
}

}  // namespace
}  // namespace device

using device::Lock;
using device::state;

CUresult cuEventCreate(CUevent* handle, unsigned flags) {
  FOREBAY_BEGIN("cuEventCreate");
  Lock lock(state().lock);
  device::Context* context = nullptr;
  if (const auto error = device::usable(context)) return error;
  auto event = std::make_shared<device::Event>();
  event->context = context;
  event->timing = (flags & CU_EVENT_DISABLE_TIMING) == 0;
  *handle = state().events.add(std::move(event));
  control::alive("event", 1);
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent handle) {
  const auto refused = device::begin("cuEventDestroy_v2");
  Lock lock(state().lock);
  const auto event = state().events.take(handle);
  if (!event) return CUDA_ERROR_INVALID_HANDLE;
  control::alive("event", -1);
  return refused ? refused : event->context->error;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
  FOREBAY_BEGIN("cuEventRecord");
  return kernel::record(event, stream);
}

CUresult kernel::record(CUevent handle, CUstream stream_handle) {
  Lock lock(state().lock);
  std::shared_ptr<device::Event> event;
  if (const auto error = device::find_event(handle, event)) return error;
  const auto stream = device::find_stream(stream_handle, *device::current());
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->context != event->context) return CUDA_ERROR_INVALID_CONTEXT;
  return device::record(*event, *stream);
}

CUresult cuEventQuery(CUevent handle) {
  FOREBAY_BEGIN("cuEventQuery");
  Lock lock(state().lock);
  std::shared_ptr<device::Event> event;
  if (const auto error = device::find_recorded(handle, event)) return error;
  return !event->last || event->last->done ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuEventSynchronize(CUevent handle) {
  FOREBAY_BEGIN("cuEventSynchronize");
  Lock lock(state().lock);
  std::shared_ptr<device::Event> event;
  if (const auto error = device::find_recorded(handle, event)) return error;
  state().changed.wait(lock, [last = event->last] { return !last || last->done; });
  return event->context->error;
}

CUresult cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
  FOREBAY_BEGIN("cuEventElapsedTime");
  Lock lock(state().lock);
  std::shared_ptr<device::Event> first;
  std::shared_ptr<device::Event> second;
  if (const auto error = device::find_event(start, first)) return error;
  if (const auto error = device::find_event(end, second)) return error;
  if (!first->timing || !second->timing || !first->last || !second->last) return CUDA_ERROR_INVALID_HANDLE;
  if (!first->last->done || !second->last->done) return CUDA_ERROR_NOT_READY;
  *milliseconds = std::chrono::duration<float, std::milli>(second->last->at - first->last->at).count();
  return CUDA_SUCCESS;
}

CUresult cuStreamWaitEvent(CUstream stream_handle, CUevent handle, unsigned) {
  FOREBAY_BEGIN("cuStreamWaitEvent");
  Lock lock(state().lock);
  std::shared_ptr<device::Event> event;
  if (const auto error = device::find_event(handle, event)) return error;
  const auto stream = device::find_stream(stream_handle, *device::current());
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->capture || event->capture.lock()) return device::wait_in_capture(*stream, *event);
  return device::push(*stream, {"cuStreamWaitEvent", nullptr, event->last, nullptr, {}});
}
