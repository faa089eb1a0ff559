// What the driver's scenarios share. A scenario is a function that ends normally if its claim holds; one with
// a planted bug ends by what catches the bug.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "control.h"
#include "driver.h"

#define CHECK(claim)                                                           \
  do {                                                                         \
    if (!(claim)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #claim); \
      std::_Exit(1);                                                           \
    }                                                                          \
  } while (false)

#define CHECK_CUDA(expected, call)                                                                        \
  do {                                                                                                    \
    if (int const got = (call); got != (expected)) {                                                      \
      std::fprintf(stderr, "%s:%d: %s gave %d, not %d\n", __FILE__, __LINE__, #call, got, int(expected)); \
      std::_Exit(1);                                                                                      \
    }                                                                                                     \
  } while (false)

#define OK(call) CHECK_CUDA(CUDA_SUCCESS, call)

using Scenarios = std::map<std::string, std::function<void()>>;

Scenarios cuda_scenarios();
Scenarios capture_scenarios();
Scenarios engine_scenarios();
Scenarios planted_scenarios();

// The ONNX file of the model that engine scenarios run: `doubled` = 2 x + [0 1 2 3], of [-1,4] floats.
const std::string& affine_model();
// The ONNX file of `places` = NonZero(x), of [-1] floats.
const std::string& non_zero_model();
// The ONNX file of `y` = Relu(x [[1 -1 0] [0 1 2]]), of [-1,2] floats.
const std::string& layer_model();

// Device 0 and a stream, given back at the end.
struct Gpu {
  explicit Gpu(int ordinal = 0) : device(ordinal) {
    OK(cuInit(0));
    OK(cuDevicePrimaryCtxRetain(&context, device));
    OK(cuCtxSetCurrent(context));
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  }
  ~Gpu() {
    cuStreamDestroy_v2(stream);
    cuDevicePrimaryCtxRelease_v2(device);
  }
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  CUdeviceptr allocate(size_t bytes) const {
    CUdeviceptr address = 0;
    OK(cuMemAlloc_v2(&address, bytes));
    return address;
  }
  template <typename Element>
  Element* pinned(size_t elements) const {
    void* address = nullptr;
    OK(cuMemHostAlloc(&address, elements * sizeof(Element), 0));
    return static_cast<Element*>(address);
  }

  CUdevice device;
  CUcontext context = nullptr;
  CUstream stream = nullptr;
};
