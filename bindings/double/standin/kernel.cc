// The other half of kernel.h: the stand-in's kernels and memory, by the real driver. Work isn't queued as
// host code here: `launch` calls it at once, and what it calls puts kernels on the stream.
#include "kernel.h"

#include "code.h"

namespace {

// The text of kernels.ptx, as the build writes it. The driver compiles it for its GPU.
constexpr char PTX[] =
#include "kernels.ptx.inc"
    ;

// All functions at once: they may be launched first while a graph is captured, when nothing can be loaded.
std::unique_ptr<standin::Code> load() {
  auto code = std::make_unique<standin::Code>();
  code->error = cuModuleLoadData(&code->module, PTX);
  for (size_t index = 0; code->error == CUDA_SUCCESS && index < standin::NAMES.size(); ++index)
    code->error = cuModuleGetFunction(&code->functions[index], code->module, standin::NAMES[index]);
  return code;
}

void unload(void* kernels) {
  const std::unique_ptr<standin::Code> code(static_cast<standin::Code*>(kernels));
  if (code->module != nullptr) cuModuleUnload(code->module);
}

int attribute(CUdevice_attribute which, CUdevice device) {
  int value = 0;
  return cuDeviceGetAttribute(&value, which, device) == CUDA_SUCCESS ? value : 0;
}

}  // namespace

CUresult kernel::launch(CUstream, const char*, std::function<CUresult()> run) { return run(); }

std::optional<CUdevice> kernel::current_device() {
  CUdevice device = 0;
  if (cuCtxGetDevice(&device) != CUDA_SUCCESS) return std::nullopt;
  return device;
}

CUdeviceptr kernel::allocate(size_t bytes) {
  CUdeviceptr address = 0;
  return cuMemAlloc_v2(&address, bytes) == CUDA_SUCCESS ? address : 0;
}

void kernel::free(CUdeviceptr address) { cuMemFree_v2(address); }

CUresult kernel::write(CUdeviceptr to, const void* from, size_t bytes) {
  return cuMemcpyHtoD_v2(to, from, bytes);
}

std::shared_ptr<void> kernel::code() { return {load().release(), unload}; }

// The driver knows what is queued; a context of the stand-in has nothing of its own that it could lose.
bool kernel::healthy(CUdevice) { return false; }

int kernel::compute_capability(CUdevice device) {
  return 10 * attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device) +
         attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device);
}

bool kernel::capturing(CUstream stream) {
  CUstreamCaptureStatus status = CAPTURE_NONE;
  return cuStreamIsCapturing(stream, &status) == CUDA_SUCCESS && status != CAPTURE_NONE;
}

std::optional<CUdevice> kernel::device_of(CUstream) { return current_device(); }

CUresult kernel::record(CUevent event, CUstream stream) { return cuEventRecord(event, stream); }
