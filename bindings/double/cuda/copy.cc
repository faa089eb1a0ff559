// Copies and fills. Every range is checked when the copy is done, not when it is queued: memory that was
// freed between, or is too small, gives CUDA_ERROR_ILLEGAL_ADDRESS, which stays. A copy to or from memory
// that isn't pinned is over when the call returns, and can't be captured.
#include <cstring>

#include "kernel.h"
#include "pinned.h"
#include "state.h"

namespace device {
namespace {

// The host's side of a copy.
struct Host {
  std::shared_ptr<Pinned> pinned;  // nullptr: not pinned
  size_t offset = 0;
};

// The host side at an address; memory that is pinned but ends too early is refused.
CUresult host_side(const void* address, size_t bytes, Host& side) {
  side.pinned = find_pinned(address);
  if (!side.pinned) return CUDA_SUCCESS;
  side.offset = static_cast<size_t>(static_cast<const std::byte*>(address) - side.pinned->host);
  return bytes <= side.pinned->bytes - side.offset ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// Is the pinned memory still there? It may have been freed since the copy was queued.
bool still_pinned(const Pinned& pinned) {
  Lock lock(state().lock);
  return find_pinned(pinned.host).get() == &pinned;
}

CUresult refuse_capture(Stream& stream) {
  stream.capture->invalid = true;
  return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

Work to_device(const char* call, CUdeviceptr to, const Host& side, const void* from, size_t bytes,
               CUdevice device) {
  if (!side.pinned) {
    const auto* const first = static_cast<const std::byte*>(from);
    const auto run = [to, device, staged = std::vector<std::byte>(first, first + bytes)] {
      const auto data = kernel::access(to, staged.size(), device);
      if (!data) return CUDA_ERROR_ILLEGAL_ADDRESS;
      std::memcpy(data.get(), staged.data(), staged.size());
      return CUDA_SUCCESS;
    };
    return {call, run, nullptr, nullptr, {}};
  }
  const auto run = [to, side, bytes, device] {
    const auto data = kernel::access(to, bytes, device);
    if (!data || !still_pinned(*side.pinned)) return CUDA_ERROR_ILLEGAL_ADDRESS;
    std::memcpy(data.get(), side.pinned->work + side.offset, bytes);
    return CUDA_SUCCESS;
  };
  return {call, run, nullptr, nullptr, {{side.pinned, side.offset, bytes, false}}};
}

Work to_host(const char* call, void* to, const Host& side, CUdeviceptr from, size_t bytes, CUdevice device) {
  const auto run = [to, side, from, bytes, device] {
    const auto data = kernel::access(from, bytes, device);
    if (!data || (side.pinned && !still_pinned(*side.pinned))) return CUDA_ERROR_ILLEGAL_ADDRESS;
    std::memcpy(side.pinned ? side.pinned->work + side.offset : to, data.get(), bytes);
    return CUDA_SUCCESS;
  };
  Work work{call, run, nullptr, nullptr, {}};
  if (side.pinned) work.touches.push_back({side.pinned, side.offset, bytes, true});
  return work;
}

// What a copy to or from the host has beside its addresses.
struct Call {
  const char* name;
  CUstream stream;
  bool waits;
};

// The stream of a call, or why there is none. A call that waits is unsafe in a capture.
CUresult open(const Call& call, std::shared_ptr<Stream>& stream) {
  Context* context = nullptr;
  if (const auto error = usable(context)) return error;
  if (call.waits) {
    if (const auto error = forbidden_by_capture()) return error;
  }
  stream = find_stream(call.stream, *context);
  return stream ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult copy_to_device(const Call& call, CUdeviceptr to, const void* from, size_t bytes) {
  Lock lock(state().lock);
  std::shared_ptr<Stream> stream;
  if (const auto error = open(call, stream)) return error;
  if (bytes == 0) return CUDA_SUCCESS;
  Host side;
  if (const auto error = host_side(from, bytes, side)) return error;
  if (!side.pinned && stream->capture) return refuse_capture(*stream);
  const auto error = push(*stream, to_device(call.name, to, side, from, bytes, stream->context->device));
  return error || !call.waits ? error : drain(lock, *stream);
}

CUresult copy_to_host(const Call& call, void* to, CUdeviceptr from, size_t bytes) {
  Lock lock(state().lock);
  std::shared_ptr<Stream> stream;
  if (const auto error = open(call, stream)) return error;
  if (bytes == 0) return CUDA_SUCCESS;
  Host side;
  if (const auto error = host_side(to, bytes, side)) return error;
  if (!side.pinned && stream->capture) return refuse_capture(*stream);
  const auto error = push(*stream, to_host(call.name, to, side, from, bytes, stream->context->device));
  return error || (side.pinned && !call.waits) ? error : drain(lock, *stream);
}

CUresult on_device(const Call& call, const std::function<CUresult(CUdevice)>& run) {
  Lock lock(state().lock);
  std::shared_ptr<Stream> stream;
  if (const auto error = open(call, stream)) return error;
  const auto bound = [run, device = stream->context->device] { return run(device); };
  const auto error = push(*stream, {call.name, bound, nullptr, nullptr, {}});
  return error || !call.waits ? error : drain(lock, *stream);
}

CUresult copy_on_device(const Call& call, CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return on_device(call, [to, from, bytes](CUdevice device) {
    const auto target = kernel::access(to, bytes, device);
    const auto source = kernel::access(from, bytes, device);
    if (!target || !source) return CUDA_ERROR_ILLEGAL_ADDRESS;
    std::memmove(target.get(), source.get(), bytes);
    return CUDA_SUCCESS;
  });
}

CUresult fill(const Call& call, CUdeviceptr to, unsigned char value, size_t bytes) {
  return on_device(call, [to, value, bytes](CUdevice device) {
    const auto target = kernel::access(to, bytes, device);
    if (!target) return CUDA_ERROR_ILLEGAL_ADDRESS;
    std::memset(target.get(), value, bytes);
    return CUDA_SUCCESS;
  });
}

}  // namespace
}  // namespace device

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
  FOREBAY_BEGIN("cuMemcpyHtoD_v2");
  return device::copy_to_device({"cuMemcpyHtoD_v2", nullptr, true}, to, from, bytes);
}

CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
  FOREBAY_BEGIN("cuMemcpyDtoH_v2");
  return device::copy_to_host({"cuMemcpyDtoH_v2", nullptr, true}, to, from, bytes);
}

CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  FOREBAY_BEGIN("cuMemcpyDtoD_v2");
  return device::copy_on_device({"cuMemcpyDtoD_v2", nullptr, true}, to, from, bytes);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
  FOREBAY_BEGIN("cuMemcpyHtoDAsync_v2");
  return device::copy_to_device({"cuMemcpyHtoDAsync_v2", stream, false}, to, from, bytes);
}

CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
  FOREBAY_BEGIN("cuMemcpyDtoHAsync_v2");
  return device::copy_to_host({"cuMemcpyDtoHAsync_v2", stream, false}, to, from, bytes);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  FOREBAY_BEGIN("cuMemcpyDtoDAsync_v2");
  return device::copy_on_device({"cuMemcpyDtoDAsync_v2", stream, false}, to, from, bytes);
}

CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t bytes) {
  FOREBAY_BEGIN("cuMemsetD8_v2");
  return device::fill({"cuMemsetD8_v2", nullptr, true}, to, value, bytes);
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream) {
  FOREBAY_BEGIN("cuMemsetD8Async");
  return device::fill({"cuMemsetD8Async", stream, false}, to, value, bytes);
}
