// Modules and their kernels: no code of a GPU's is run here. The kernels that kernels.h has are run as host
// code, by their names, with the same checks of memory as a copy's.
#include <cstdlib>
#include <cstring>

#include "control.h"
#include "kernel.h"
#include "kernels.h"
#include "state.h"

// What a handle of a function leads to. It lives as long as the process.
struct CUfunc_st {
  const char* name;
  void (*element)(const kernels::Arguments&, uint64_t);  // nullptr: the one that faults
};

namespace {

constexpr CUfunc_st FUNCTIONS[] = {
    {"forebay_add", kernels::add},   {"forebay_multiply", kernels::multiply},
    {"forebay_relu", kernels::relu}, {"forebay_matrix_multiply", kernels::matrix_multiply},
    {"forebay_fault", nullptr},
};

CUdeviceptr to_address(const void* pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }

CUresult run(const CUfunc_st& function, kernels::Arguments all, CUdevice device) {
  if (function.element == nullptr) return CUDA_ERROR_ILLEGAL_ADDRESS;
  const auto left = kernel::access(to_address(all.left), all.left_bytes, device);
  const auto right = kernel::access(to_address(all.right), all.right_bytes, device);
  const auto result = kernel::access(to_address(all.result), all.count * sizeof(float), device);
  if (!left || !right || !result) return CUDA_ERROR_ILLEGAL_ADDRESS;
  all.left = reinterpret_cast<const float*>(left.get());
  all.right = reinterpret_cast<const float*>(right.get());
  all.result = reinterpret_cast<float*>(result.get());
  for (uint64_t index = 0; index < all.count; ++index) function.element(all, index);
  return CUDA_SUCCESS;
}

}  // namespace

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
  FOREBAY_BEGIN("cuModuleLoadData");
  if (image == nullptr || !kernel::current_device()) return CUDA_ERROR_INVALID_CONTEXT;
  // A copy of the text is all that there is of it.
  *module = reinterpret_cast<CUmodule>(strdup(static_cast<const char*>(image)));
  control::alive("module", 1);
  return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule module) {
  FOREBAY_BEGIN("cuModuleUnload");
  control::alive("module", -1);
  std::free(module);
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  FOREBAY_BEGIN("cuModuleGetFunction");
  const auto* const text = reinterpret_cast<const char*>(module);
  for (const auto& known : FUNCTIONS) {
    if (std::strcmp(known.name, name) != 0 || std::strstr(text, name) == nullptr) continue;
    *function = const_cast<CUfunction>(&known);
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_NOT_FOUND;
}

CUresult cuLaunchKernel(CUfunction function, unsigned blocks, unsigned, unsigned, unsigned threads, unsigned,
                        unsigned, unsigned, CUstream stream, void** parameters, void**) {
  FOREBAY_BEGIN("cuLaunchKernel");
  const auto device = kernel::current_device();
  if (!device) return CUDA_ERROR_INVALID_CONTEXT;
  kernels::Arguments all{};
  if (function->element != nullptr) std::memcpy(&all, parameters[0], sizeof all);
  // Elements that no thread is for would never be computed.
  if (uint64_t{blocks} * threads < all.count) return CUDA_ERROR_INVALID_VALUE;
  return kernel::launch(stream, "cuLaunchKernel",
                        [function, all, device = *device] { return run(*function, all, device); });
}
