// TensorRT through its real headers, for scenarios: build, load, run.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "NvInfer.h"
#include "NvOnnxParser.h"
#include "test.h"

// Keeps what was said.
class Log final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* text) noexcept override {
    std::lock_guard guard(lock_);
    if (severity <= Severity::kERROR) said_ += std::string(text) + "\n";
  }
  // What was said since the last time.
  std::string take() {
    std::lock_guard guard(lock_);
    return std::exchange(said_, "");
  }

 private:
  std::mutex lock_;
  std::string said_;
};

struct Limits {
  int64_t low;
  int64_t high;
};

struct Build {
  std::string model;
  std::vector<Limits> profiles;  // of the first dimension of `x`
  uint32_t flags = 0;
};

// The plan of an ONNX file.
std::vector<char> build(Log& log, const Build& build);

// A runtime and an engine of the plan.
struct Loaded {
  Loaded(Log& log, const std::vector<char>& plan);

  std::unique_ptr<nvinfer1::IRuntime> runtime;
  std::unique_ptr<nvinfer1::ICudaEngine> engine;
};

inline nvinfer1::Dims dims(const std::vector<int64_t>& sizes) {
  nvinfer1::Dims result{static_cast<int32_t>(sizes.size()), {}};
  for (size_t axis = 0; axis < sizes.size(); ++axis) result.d[axis] = sizes[axis];
  return result;
}

// Runs the affine model's context on the numbers and gives its output.
std::vector<float> run(const Gpu& gpu, nvinfer1::IExecutionContext& context,
                       const std::vector<float>& numbers);

inline cudaStream_t stream_of(const Gpu& gpu) { return gpu.stream; }
inline void* pointer(CUdeviceptr address) { return reinterpret_cast<void*>(address); }
