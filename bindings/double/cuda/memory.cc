// Device and pinned memory. A device address lies in pages that no one may touch, so a host that follows one
// faults; the bytes are on the heap, where ASAN and valgrind watch them. An address is never given twice and
// freed pages stay closed. Pinned memory is mapped twice: the host's view is closed to it while work that was
// queued needs the bytes, the other view is what the work uses.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "control.h"
#include "kernel.h"
#include "pinned.h"
#include "state.h"

namespace device {
namespace {

constexpr size_t PAGE = 4096;
// Address space taken at a time. It costs no memory.
constexpr size_t RANGE = size_t{4} << 30;
// What new device memory holds, so that reading it before writing shows; no more of it than is quickly
// written.
constexpr int GARBAGE = 0xCD;
constexpr size_t MOST_GARBAGE = 1 << 20;

size_t whole_pages(size_t bytes) { return (bytes + PAGE - 1) / PAGE * PAGE; }

// The next address for `bytes` bytes, with a closed page behind them.
uintptr_t take_address(size_t bytes) {
  static uintptr_t next = 0;
  static size_t left = 0;
  const auto needed = whole_pages(bytes) + PAGE;
  if (needed > left) {
    const auto range = std::max(RANGE, needed);
    void* const taken = mmap(nullptr, range, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (taken == MAP_FAILED) return 0;
    next = reinterpret_cast<uintptr_t>(taken);
    left = range;
  }
  const auto address = next;
  next += needed;
  left -= needed;
  return address;
}

}  // namespace

CUdeviceptr reserve_memory(Context& context, size_t bytes) {
  auto& device = state().devices[static_cast<size_t>(context.device)];
  if (bytes > device.total - device.used) return 0;
  const auto address = take_address(bytes);
  auto* const data = static_cast<std::byte*>(std::malloc(bytes));
  if (address == 0 || data == nullptr) return 0;
  std::memset(data, GARBAGE, std::min(bytes, MOST_GARBAGE));
  device.used += bytes;
  control::alive("device_memory", 1);
  state().memory[address] = {
      bytes, context.device, false, {data, [](std::byte* freed) { std::free(freed); }}};
  return address;
}

CUresult release_memory(CUdeviceptr address) {
  auto& all = state();
  const auto found = all.memory.find(address);
  if (found == all.memory.end()) return CUDA_ERROR_INVALID_VALUE;
  all.devices[static_cast<size_t>(found->second.device)].used -= found->second.bytes;
  all.memory.erase(found);
  control::alive("device_memory", -1);
  return CUDA_SUCCESS;
}

std::shared_ptr<std::byte> find_memory(CUdeviceptr address, size_t bytes, CUdevice device) {
  auto& memory = state().memory;
  auto found = memory.upper_bound(address);
  if (found == memory.begin()) return nullptr;
  --found;
  const auto offset = address - found->first;
  const auto& [size, owner, of_runtime, data] = found->second;
  if (owner != device || offset > size || bytes > size - offset) return nullptr;
  return {data, data.get() + offset};
}

std::shared_ptr<Pinned> find_pinned(const void* address) {
  auto& pinned = state().pinned;
  const auto host = reinterpret_cast<uintptr_t>(address);
  auto found = pinned.upper_bound(host);
  if (found == pinned.begin()) return nullptr;
  --found;
  return host < found->first + found->second->bytes ? found->second : nullptr;
}

Pinned::~Pinned() { munmap(work, whole_pages(bytes)); }

void Pinned::close() {
  // The pages stay taken, so that no later allocation hides a use of these.
  mmap(host, whole_pages(bytes), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  pages.clear();
}

void Pinned::change(const Touch& touch, int by) {
  if (pages.empty()) return;
  const auto end = touch.offset + touch.bytes;
  // Only pages that the work needs whole: what lies beside its bytes in a page may be the host's.
  const auto first = (touch.offset + PAGE - 1) / PAGE;
  const auto last = end == bytes ? pages.size() : end / PAGE;
  for (auto page = first; page < last; ++page) {
    auto& users = pages[page];
    (touch.writes ? users.writers : users.readers) += by;
    const auto access = users.writers > 0   ? PROT_NONE
                        : users.readers > 0 ? PROT_READ
                                            : PROT_READ | PROT_WRITE;
    mprotect(host + page * PAGE, PAGE, access);
  }
}

void hold(const Touch& touch) { touch.pinned->change(touch, 1); }

void let_go(const Touch& touch) { touch.pinned->change(touch, -1); }

namespace {

// Two views of the same new pages, nullptr without memory for them.
std::shared_ptr<Pinned> make_pinned(size_t bytes) {
  const auto size = whole_pages(bytes);
  const int file = memfd_create("forebay-double-pinned", MFD_CLOEXEC);
  if (file < 0) return nullptr;
  void* host = MAP_FAILED;
  void* work = MAP_FAILED;
  if (ftruncate(file, static_cast<off_t>(size)) == 0) {
    host = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    work = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  }
  close(file);
  if (host == MAP_FAILED || work == MAP_FAILED) return nullptr;
  return std::make_shared<Pinned>(static_cast<std::byte*>(host), static_cast<std::byte*>(work), bytes,
                                  size / PAGE);
}

CUresult allocate_pinned(void** address, size_t bytes) {
  Lock lock(state().lock);
  Context* context = nullptr;
  if (const auto error = usable(context)) return error;
  if (const auto error = forbidden_by_capture()) return error;
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  auto pinned = make_pinned(bytes);
  if (!pinned) return CUDA_ERROR_OUT_OF_MEMORY;
  *address = pinned->host;
  state().pinned[reinterpret_cast<uintptr_t>(*address)] = std::move(pinned);
  control::alive("pinned_memory", 1);
  return CUDA_SUCCESS;
}

}  // namespace
}  // namespace device

using device::Lock;
using device::state;

CUresult cuMemGetInfo_v2(size_t* available, size_t* total) {
  FOREBAY_BEGIN("cuMemGetInfo_v2");
  Lock lock(state().lock);
  device::Context* context = nullptr;
  if (const auto error = device::usable(context)) return error;
  const auto& device = state().devices[static_cast<size_t>(context->device)];
  *available = device.total - device.used;
  *total = device.total;
  return CUDA_SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr* address, size_t bytes) {
  FOREBAY_BEGIN("cuMemAlloc_v2");
  Lock lock(state().lock);
  device::Context* context = nullptr;
  if (const auto error = device::usable(context)) return error;
  if (const auto error = device::forbidden_by_capture()) return error;
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  *address = device::reserve_memory(*context, bytes);
  return *address == 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult cuMemFree_v2(CUdeviceptr address) {
  const auto refused = device::begin("cuMemFree_v2");
  Lock lock(state().lock);
  if (const auto error = device::forbidden_by_capture()) return error;
  device::Context* context = nullptr;
  const auto unusable = device::usable(context);
  const auto error = address == 0 ? CUDA_SUCCESS : device::release_memory(address);
  return refused ? refused : unusable ? unusable : error;
}

CUresult cuMemAllocAsync(CUdeviceptr* address, size_t bytes, CUstream handle) {
  FOREBAY_BEGIN("cuMemAllocAsync");
  Lock lock(state().lock);
  device::Context* context = nullptr;
  if (const auto error = device::usable(context)) return error;
  const auto stream = device::find_stream(handle, *context);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->capture) {
    stream->capture->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  *address = device::reserve_memory(*context, bytes);
  return *address == 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream handle) {
  const auto refused = device::begin("cuMemFreeAsync");
  Lock lock(state().lock);
  device::Context* context = nullptr;
  if (const auto error = device::usable(context)) {
    // No stream of this context does anything more; the accounts are kept.
    if (context != nullptr) device::release_memory(address);
    return refused ? refused : error;
  }
  const auto stream = device::find_stream(handle, *context);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  const auto freed = [address] {
    Lock inner(state().lock);
    return device::release_memory(address) ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS;
  };
  const auto error = device::push(*stream, {"cuMemFreeAsync", freed, nullptr, nullptr, {}});
  return refused ? refused : error;
}

CUresult cuMemHostAlloc(void** address, size_t bytes, unsigned) {
  FOREBAY_BEGIN("cuMemHostAlloc");
  return device::allocate_pinned(address, bytes);
}

CUresult cuMemAllocHost_v2(void** address, size_t bytes) {
  FOREBAY_BEGIN("cuMemAllocHost_v2");
  return device::allocate_pinned(address, bytes);
}

CUresult cuMemFreeHost(void* address) {
  const auto refused = device::begin("cuMemFreeHost");
  Lock lock(state().lock);
  if (const auto error = device::forbidden_by_capture()) return error;
  device::Context* context = nullptr;
  const auto unusable = device::usable(context);
  const auto found = state().pinned.find(reinterpret_cast<uintptr_t>(address));
  if (found == state().pinned.end()) return CUDA_ERROR_INVALID_VALUE;
  found->second->close();
  state().pinned.erase(found);
  control::alive("pinned_memory", -1);
  return refused ? refused : unusable;
}

CUresult cuPointerGetAttribute(void* value, CUpointer_attribute attribute, CUdeviceptr address) {
  FOREBAY_BEGIN("cuPointerGetAttribute");
  Lock lock(state().lock);
  const auto pinned = device::find_pinned(reinterpret_cast<const void*>(static_cast<uintptr_t>(address)));
  CUdevice owner = 0;
  const auto devices = static_cast<CUdevice>(state().devices.size());
  while (owner < devices && !device::find_memory(address, 1, owner)) ++owner;
  if (owner == devices && !pinned) return CUDA_ERROR_INVALID_VALUE;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      *static_cast<unsigned*>(value) = pinned ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      *static_cast<int*>(value) = pinned ? 0 : owner;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}
