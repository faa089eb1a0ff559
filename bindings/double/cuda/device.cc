// The driver's start, devices and contexts. A device is what the environment says: FOREBAY_DOUBLE_DEVICES of
// them (1), each with FOREBAY_DOUBLE_MEMORY bytes (1 GiB) and compute capability FOREBAY_DOUBLE_CAPABILITY
// (86 for 8.6). Contexts are the devices' primary ones; there are no others.
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "control.h"
#include "state.h"

namespace device {
namespace {

thread_local std::vector<Context*> stack;

size_t number_from(const char* variable, size_t otherwise) {
  const char* text = std::getenv(variable);
  if (text == nullptr) return otherwise;
  char* end = nullptr;
  const auto number = std::strtoull(text, &end, 10);
  if (*text == '\0' || *end != '\0') {
    std::fprintf(stderr, "%s isn't a number: %s\n", variable, text);
    std::abort();
  }
  return number;
}

CUresult find_device(CUdevice device, Device*& found) {
  auto& all = state();
  if (!all.initialised) return CUDA_ERROR_NOT_INITIALIZED;
  if (device < 0 || static_cast<size_t>(device) >= all.devices.size()) return CUDA_ERROR_INVALID_DEVICE;
  found = &all.devices[static_cast<size_t>(device)];
  return CUDA_SUCCESS;
}

}  // namespace

State& state() {
  static State& instance = *[] {
    auto* created = new State;
    created->devices.resize(number_from("FOREBAY_DOUBLE_DEVICES", 1));
    CUdevice ordinal = 0;
    for (auto& device : created->devices) {
      device.primary.device = ordinal++;
      device.total = number_from("FOREBAY_DOUBLE_MEMORY", size_t{1} << 30);
      device.capability = static_cast<int>(number_from("FOREBAY_DOUBLE_CAPABILITY", 86));
    }
    return created;
  }();
  return instance;
}

Context*& current() {
  if (stack.empty()) stack.push_back(nullptr);
  return stack.back();
}

CUresult begin(const char* call) {
  const auto code = static_cast<CUresult>(control::enter(call));
  // The kernel faults, 700 to 719, leave a context unusable.
  if (code >= CUDA_ERROR_ILLEGAL_ADDRESS && code <= CUDA_ERROR_LAUNCH_FAILED && current() != nullptr) {
    Lock lock(state().lock);
    current()->error = code;
  }
  return code;
}

CUresult usable(Context*& context) {
  context = current();
  if (!state().initialised) return CUDA_ERROR_NOT_INITIALIZED;
  if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  if (context->retained == 0) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  return context->error;
}

void clear(Context& context) {
  auto& all = state();
  for (auto next = all.memory.begin(); next != all.memory.end();) {
    const auto address = next->first;
    const bool here = next->second.device == context.device;
    if (here && next->second.of_runtime) {
      std::fputs("forebay double: a device was reset under an engine or an execution context\n", stderr);
      std::abort();
    }
    ++next;
    if (here) release_memory(address);
  }
  for (const auto& stream : all.streams.take_all(&context)) {
    stream->destroyed = true;
    control::alive("stream", -1);
  }
  for (size_t count = all.events.take_all(&context).size(); count > 0; --count) control::alive("event", -1);
  all.changed.notify_all();
  context.error = CUDA_SUCCESS;
  context.used_by_runtime = false;
  ++context.resets;
  context.default_stream = nullptr;
}

void heal() {
  Lock lock(state().lock);
  for (auto& device : state().devices) device.primary.error = CUDA_SUCCESS;
}

}  // namespace device

using device::find_device;
using device::Lock;
using device::state;

CUresult cuInit(unsigned flags) {
  FOREBAY_BEGIN("cuInit");
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  Lock lock(state().lock);
  if (state().devices.empty()) return CUDA_ERROR_NO_DEVICE;
  state().initialised = true;
  return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int* version) {
  FOREBAY_BEGIN("cuDriverGetVersion");
  *version = 13000;
  return CUDA_SUCCESS;
}

CUresult cuGetProcAddress_v2(const char* symbol, void** function, int, uint64_t, int* status) {
  FOREBAY_BEGIN("cuGetProcAddress_v2");
  *function = dlsym(RTLD_DEFAULT, symbol);
  if (status != nullptr) *status = *function == nullptr ? 1 : 0;
  return *function == nullptr ? CUDA_ERROR_NOT_FOUND : CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int* count) {
  FOREBAY_BEGIN("cuDeviceGetCount");
  Lock lock(state().lock);
  if (!state().initialised) return CUDA_ERROR_NOT_INITIALIZED;
  *count = static_cast<int>(state().devices.size());
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  FOREBAY_BEGIN("cuDeviceGet");
  Lock lock(state().lock);
  device::Device* found = nullptr;
  *device = ordinal;
  return find_device(ordinal, found);
}

CUresult cuDeviceGetName(char* name, int length, CUdevice device) {
  FOREBAY_BEGIN("cuDeviceGetName");
  Lock lock(state().lock);
  device::Device* found = nullptr;
  if (const auto error = find_device(device, found)) return error;
  if (length < 1) return CUDA_ERROR_INVALID_VALUE;
  std::snprintf(name, static_cast<size_t>(length), "Forebay test double");
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice device) {
  FOREBAY_BEGIN("cuDeviceGetUuid_v2");
  Lock lock(state().lock);
  device::Device* found = nullptr;
  if (const auto error = find_device(device, found)) return error;
  std::memset(uuid->bytes, 0xFB, sizeof uuid->bytes);
  uuid->bytes[15] = static_cast<unsigned char>(device);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char* id, int length, CUdevice device) {
  FOREBAY_BEGIN("cuDeviceGetPCIBusId");
  Lock lock(state().lock);
  device::Device* found = nullptr;
  if (const auto error = find_device(device, found)) return error;
  if (length < 13) return CUDA_ERROR_INVALID_VALUE;
  std::snprintf(id, static_cast<size_t>(length), "0000:%02x:00.0", static_cast<unsigned>(device) & 0xFF);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  FOREBAY_BEGIN("cuDeviceGetAttribute");
  Lock lock(state().lock);
  device::Device* found = nullptr;
  if (const auto error = find_device(device, found)) return error;
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      *value = found->capability / 10;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      *value = found->capability % 10;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
      *value = 1;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice device) {
  FOREBAY_BEGIN("cuDeviceTotalMem_v2");
  Lock lock(state().lock);
  device::Device* found = nullptr;
  if (const auto error = find_device(device, found)) return error;
  *bytes = found->total;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  FOREBAY_BEGIN("cuDevicePrimaryCtxRetain");
  Lock lock(state().lock);
  device::Device* found = nullptr;
  if (const auto error = find_device(device, found)) return error;
  ++found->primary.retained;
  control::alive("context", 1);
  *context = reinterpret_cast<CUcontext>(&found->primary);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  const auto refused = device::begin("cuDevicePrimaryCtxRelease_v2");
  Lock lock(state().lock);
  device::Device* found = nullptr;
  if (const auto error = find_device(device, found)) return error;
  if (found->primary.retained == 0) return CUDA_ERROR_INVALID_CONTEXT;
  control::alive("context", -1);
  if (--found->primary.retained == 0 && !found->primary.used_by_runtime) found->primary.error = CUDA_SUCCESS;
  return refused;
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
  FOREBAY_BEGIN("cuDevicePrimaryCtxReset_v2");
  Lock lock(state().lock);
  device::Device* found = nullptr;
  if (const auto error = find_device(device, found)) return error;
  device::clear(found->primary);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned* flags, int* active) {
  FOREBAY_BEGIN("cuDevicePrimaryCtxGetState");
  Lock lock(state().lock);
  device::Device* found = nullptr;
  if (const auto error = find_device(device, found)) return error;
  *flags = 0;
  *active = found->primary.retained > 0 || found->primary.used_by_runtime ? 1 : 0;
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
  FOREBAY_BEGIN("cuCtxSetCurrent");
  device::current() = reinterpret_cast<device::Context*>(context);
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext* context) {
  FOREBAY_BEGIN("cuCtxGetCurrent");
  *context = reinterpret_cast<CUcontext>(device::current());
  return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent_v2(CUcontext context) {
  FOREBAY_BEGIN("cuCtxPushCurrent_v2");
  device::current();
  device::stack.push_back(reinterpret_cast<device::Context*>(context));
  return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent_v2(CUcontext* context) {
  FOREBAY_BEGIN("cuCtxPopCurrent_v2");
  if (device::current() == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  if (context != nullptr) *context = reinterpret_cast<CUcontext>(device::current());
  device::stack.pop_back();
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice* device) {
  FOREBAY_BEGIN("cuCtxGetDevice");
  if (device::current() == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  *device = device::current()->device;
  return CUDA_SUCCESS;
}

CUresult cuCtxSetFlags(unsigned) {
  FOREBAY_BEGIN("cuCtxSetFlags");
  Lock lock(state().lock);
  device::Context* context = nullptr;
  return device::usable(context);
}

CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  FOREBAY_BEGIN("cuCtxGetStreamPriorityRange");
  if (least != nullptr) *least = 0;
  if (greatest != nullptr) *greatest = -5;
  return CUDA_SUCCESS;
}
