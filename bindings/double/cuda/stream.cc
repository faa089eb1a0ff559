// Streams: a queue and a thread each. Work is done in order; what waits for an event waits at its turn; a
// closed gate holds it there. After an error of the context the rest is passed over, and its events still
// come, so nothing waits for ever. The default stream is one more stream: it doesn't wait for the others as
// the driver's does.
#include <algorithm>
#include <cstring>

#include "control.h"
#include "kernel.h"
#include "pinned.h"
#include "state.h"

namespace device {
namespace {

// What the stream's thread does until the stream is destroyed and its queue is empty.
void serve(std::shared_ptr<Stream> stream) {
  auto& all = state();
  Lock lock(all.lock);
  for (;;) {
    all.changed.wait(lock, [&] { return !stream->queue.empty() || stream->destroyed; });
    if (stream->queue.empty()) return;
    auto& work = stream->queue.front();
    all.changed.wait(lock, [&] { return !work.waits || work.waits->done; });
    lock.unlock();
    control::pass_gate(work.call);
    lock.lock();
    const auto is_lost = [&] {
      return stream->context->error != CUDA_SUCCESS || stream->resets != stream->context->resets;
    };
    if (work.run && !is_lost()) {
      lock.unlock();
      const auto error = work.run();
      lock.lock();
      if (!is_lost()) stream->context->error = error;
    }
    for (const auto& touch : work.touches) let_go(touch);
    if (work.marks) {
      work.marks->done = true;
      work.marks->at = std::chrono::steady_clock::now();
    }
    stream->queue.pop_front();
    ++stream->finished;
    all.changed.notify_all();
  }
}

}  // namespace

std::shared_ptr<Stream> make_stream(Context& context) {
  auto stream = std::make_shared<Stream>();
  stream->context = &context;
  stream->resets = context.resets;
  std::thread(serve, stream).detach();
  return stream;
}

std::shared_ptr<Stream> find_stream(CUstream handle, Context& context) {
  // The handles of the default stream: none, CU_STREAM_LEGACY, CU_STREAM_PER_THREAD.
  if (reinterpret_cast<uintptr_t>(handle) <= 2) {
    if (!context.default_stream) {
      context.default_stream = make_stream(context);
      context.default_stream->is_default = true;
    }
    return context.default_stream;
  }
  auto stream = state().streams.find(handle);
  return stream && stream->context == &context ? stream : nullptr;
}

CUresult push(Stream& stream, Work work) {
  if (stream.capture) {
    if (stream.capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    auto& forked = stream.capture->forked;
    const bool listed = std::find(forked.begin(), forked.end(), &stream) != forked.end();
    if (&stream != stream.capture->origin && !listed) forked.push_back(&stream);
    stream.capture->work.push_back(std::move(work));
    return CUDA_SUCCESS;
  }
  if (stream.is_default) {
    if (const auto error = forbidden_by_capture()) return error;
  }
  for (const auto& touch : work.touches) hold(touch);
  stream.queue.push_back(std::move(work));
  ++stream.queued;
  state().changed.notify_all();
  return CUDA_SUCCESS;
}

CUresult drain(Lock& lock, Stream& stream) {
  const auto queued = stream.queued;
  state().changed.wait(lock, [&] { return stream.finished >= queued; });
  return stream.context->error;
}

}  // namespace device

using device::Lock;
using device::state;

namespace {

CUresult create(CUstream* handle) {
  Lock lock(state().lock);
  device::Context* context = nullptr;
  if (const auto error = device::usable(context)) return error;
  *handle = state().streams.add(device::make_stream(*context));
  control::alive("stream", 1);
  return CUDA_SUCCESS;
}

// A stream that may be waited for now, or why not.
CUresult find_idle(CUstream handle, std::shared_ptr<device::Stream>& stream) {
  device::Context* context = nullptr;
  if (const auto error = device::usable(context)) return error;
  stream = device::find_stream(handle, *context);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->capture) {
    stream->capture->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUresult cuStreamCreate(CUstream* handle, unsigned) {
  FOREBAY_BEGIN("cuStreamCreate");
  return create(handle);
}

CUresult cuStreamCreateWithPriority(CUstream* handle, unsigned, int) {
  FOREBAY_BEGIN("cuStreamCreateWithPriority");
  return create(handle);
}

CUresult cuStreamDestroy_v2(CUstream handle) {
  const auto refused = device::begin("cuStreamDestroy_v2");
  Lock lock(state().lock);
  const auto stream = state().streams.take(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (const auto capture = stream->capture) {
    capture->invalid = true;
    if (capture->origin == stream.get()) device::leave_capture(capture);
  }
  stream->destroyed = true;
  state().changed.notify_all();
  control::alive("stream", -1);
  return refused ? refused : stream->context->error;
}

CUresult cuStreamSynchronize(CUstream handle) {
  FOREBAY_BEGIN("cuStreamSynchronize");
  Lock lock(state().lock);
  std::shared_ptr<device::Stream> stream;
  if (const auto error = find_idle(handle, stream)) return error;
  return device::drain(lock, *stream);
}

CUresult cuStreamQuery(CUstream handle) {
  FOREBAY_BEGIN("cuStreamQuery");
  Lock lock(state().lock);
  std::shared_ptr<device::Stream> stream;
  if (const auto error = find_idle(handle, stream)) return error;
  return stream->finished == stream->queued ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuCtxSynchronize(void) {
  FOREBAY_BEGIN("cuCtxSynchronize");
  Lock lock(state().lock);
  device::Context* context = nullptr;
  if (const auto error = device::usable(context)) return error;
  if (const auto error = device::forbidden_by_capture()) return error;
  for (const auto& stream : state().streams.all()) {
    if (stream->context == context) device::drain(lock, *stream);
  }
  if (const auto stream = context->default_stream) device::drain(lock, *stream);
  return context->error;
}

CUresult cuLaunchHostFunc(CUstream handle, CUhostFn function, void* argument) {
  FOREBAY_BEGIN("cuLaunchHostFunc");
  const auto run = [function, argument] {
    function(argument);
    return CUDA_SUCCESS;
  };
  return kernel::launch(handle, "cuLaunchHostFunc", run);
}

CUresult kernel::launch(CUstream handle, const char* call, std::function<CUresult()> run) {
  Lock lock(state().lock);
  device::Context* context = nullptr;
  if (const auto error = device::usable(context)) return error;
  const auto stream = device::find_stream(handle, *context);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  return device::push(*stream, {call, std::move(run), nullptr, nullptr, {}});
}

std::shared_ptr<std::byte> kernel::access(CUdeviceptr address, size_t bytes, CUdevice device) {
  Lock lock(state().lock);
  return device::find_memory(address, bytes, device);
}

std::optional<CUdevice> kernel::current_device() {
  Lock lock(state().lock);
  device::Context* context = nullptr;
  if (device::usable(context)) return std::nullopt;
  return context->device;
}

CUdeviceptr kernel::allocate(size_t bytes) {
  if (device::begin("cudaMalloc")) return 0;
  Lock lock(state().lock);
  device::Context* context = nullptr;
  if (device::usable(context) || device::forbidden_by_capture()) return 0;
  const auto address = device::reserve_memory(*context, bytes);
  if (address != 0) state().memory[address].of_runtime = true;
  context->used_by_runtime = true;
  return address;
}

void kernel::free(CUdeviceptr address) {
  control::enter("cudaFree");
  Lock lock(state().lock);
  device::release_memory(address);
}

CUresult kernel::write(CUdeviceptr to, const void* from, size_t bytes) {
  const auto device = current_device();
  const auto target = device ? access(to, bytes, *device) : nullptr;
  if (!target) return CUDA_ERROR_ILLEGAL_ADDRESS;
  std::memcpy(target.get(), from, bytes);
  return CUDA_SUCCESS;
}

std::shared_ptr<void> kernel::code() { return nullptr; }

bool kernel::healthy(CUdevice device) {
  Lock lock(state().lock);
  return state().devices[static_cast<size_t>(device)].primary.error == CUDA_SUCCESS;
}

int kernel::compute_capability(CUdevice device) {
  return state().devices[static_cast<size_t>(device)].capability;
}

bool kernel::capturing(CUstream handle) {
  Lock lock(state().lock);
  const auto stream = state().streams.find(handle);
  return stream && stream->capture;
}

std::optional<CUdevice> kernel::device_of(CUstream handle) {
  Lock lock(state().lock);
  device::Context* context = nullptr;
  if (device::usable(context)) return std::nullopt;
  const auto stream = device::find_stream(handle, *context);
  if (!stream) return std::nullopt;
  return stream->context->device;
}
