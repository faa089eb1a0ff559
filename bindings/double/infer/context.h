// An execution context: shapes, addresses and scratch memory for one run at a time.
#pragma once

#include <atomic>
#include <future>
#include <memory>
#include <optional>

#include "engine.h"
#include "run.h"

namespace infer {

class Context final : public nvinfer1::IExecutionContext, public nvinfer1::apiv::VExecutionContext {
 public:
  Context(Engine& engine, nvinfer1::ExecutionContextAllocationStrategy strategy);
  ~Context() noexcept override;

  // False if the scratch memory that the context owns couldn't be had.
  bool has_scratch() const { return strategy_ == USER_MANAGED || scratch_->address() != 0; }

  nvinfer1::IExecutionContext* getPImpl() noexcept override { return this; }
  void setDebugSync(bool sync) noexcept override { debug_sync_ = sync; }
  bool getDebugSync() const noexcept override { return debug_sync_; }
  void setProfiler(nvinfer1::IProfiler* profiler) noexcept override { profiler_ = profiler; }
  nvinfer1::IProfiler* getProfiler() const noexcept override { return profiler_; }
  const nvinfer1::ICudaEngine& getEngine() const noexcept override { return engine_; }
  void setName(const char* name) noexcept override { name_ = name; }
  const char* getName() const noexcept override { return name_.c_str(); }
  void setDeviceMemory(void* memory) noexcept override;
  int32_t getOptimizationProfile() const noexcept override { return profile_; }
  bool allInputDimensionsSpecified() const noexcept override;
  void setErrorRecorder(nvinfer1::IErrorRecorder* recorder) noexcept override { voice_.recorder = recorder; }
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override { return voice_.recorder; }
  bool executeV2(void* const* bindings) noexcept override;
  bool setOptimizationProfileAsync(int32_t profile, cudaStream_t stream) noexcept override;
  void setEnqueueEmitsProfile(bool emits) noexcept override { emits_profile_ = emits; }
  bool getEnqueueEmitsProfile() const noexcept override { return emits_profile_; }
  bool reportToProfiler() const noexcept override { return false; }
  bool setInputShape(const char* name, const nvinfer1::Dims& dims) noexcept override;
  nvinfer1::Dims getTensorShape(const char* name) const noexcept override;
  nvinfer1::Dims getTensorStrides(const char* name) const noexcept override;
  bool setTensorAddress(const char* name, void* data) noexcept override;
  const void* getTensorAddress(const char* name) const noexcept override;
  bool setInputTensorAddress(const char* name, const void* data) noexcept override;
  bool setOutputTensorAddress(const char* name, void* data) noexcept override;
  int32_t inferShapes(int32_t capacity, const char** names) noexcept override;
  bool setInputConsumedEvent(cudaEvent_t event) noexcept override;
  cudaEvent_t getInputConsumedEvent() const noexcept override { return consumed_; }
  void* getOutputTensorAddress(const char* name) const noexcept override;
  bool setOutputAllocator(const char* name, nvinfer1::IOutputAllocator* allocator) noexcept override;
  nvinfer1::IOutputAllocator* getOutputAllocator(const char* name) noexcept override;
  int64_t getMaxOutputSize(const char* name) const noexcept override;
  bool setTemporaryStorageAllocator(nvinfer1::IGpuAllocator* allocator) noexcept override;
  nvinfer1::IGpuAllocator* getTemporaryStorageAllocator() const noexcept override { return temporary_; }
  bool enqueueV3(cudaStream_t stream) noexcept override;
  void setPersistentCacheLimit(size_t size) noexcept override;
  size_t getPersistentCacheLimit() const noexcept override { return cache_limit_; }
  bool setNvtxVerbosity(nvinfer1::ProfilingVerbosity verbosity) noexcept override;
  nvinfer1::ProfilingVerbosity getNvtxVerbosity() const noexcept override { return verbosity_; }
  void setAuxStreams(cudaStream_t*, int32_t) noexcept override {}
  bool setDebugListener(nvinfer1::IDebugListener* listener) noexcept override;
  nvinfer1::IDebugListener* getDebugListener() noexcept override { return listener_; }
  bool setTensorDebugState(const char*, bool) noexcept override { return false; }
  bool getDebugState(const char*) const noexcept override { return false; }
  bool setAllTensorsDebugState(bool) noexcept override { return false; }
  size_t updateDeviceMemorySizeForShapes() noexcept override;
  void setDeviceMemoryV2(void* memory, int64_t size) noexcept override;
  nvinfer1::IRuntimeConfig* getRuntimeConfig() const noexcept override { return nullptr; }
  bool setUnfusedTensorsDebugState(bool) noexcept override { return false; }
  bool getUnfusedTensorsDebugState() const noexcept override { return false; }
  bool setCommunicator(void*) noexcept override { return false; }
#if NV_TENSORRT_MAJOR == 10
  bool allInputShapesSpecified() const noexcept override { return allInputDimensionsSpecified(); }
#endif

 private:
  static constexpr auto USER_MANAGED = nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED;

  struct Output {
    CUdeviceptr address = 0;
    nvinfer1::IOutputAllocator* allocator = nullptr;
  };

  std::optional<size_t> find(const std::vector<uint32_t>& list, const char* name) const;
  const Tensor* find_io(const char* where, const char* name) const;
  bool fail(const char* where, nvinfer1::ErrorCode code, const std::string& text) const;
  // Counts the call; true, with an error said, if a rule makes it fail or the thread has no CUDA context of
  // the engine's device, in whose place the real one takes the first device's.
  bool refuses(const char* where) const;
  void reset_shapes();
  void reserve_scratch();
  // The shapes of all tensors now, none if they don't fit.
  std::optional<std::vector<Shape>> shapes() const;
  // The values that decide shapes, as they are in the caller's memory now.
  Values values() const;
  // Takes them for the next run, or says why the profile doesn't allow them.
  bool take_values(const char* where);
  // Fills in what the run needs, or says why it can't.
  bool prepare(Run& run);
  bool choose_output(Run& run, size_t index, const Shape& shape, CUstream stream);
  bool launch(const std::shared_ptr<Run>& run, CUstream stream);
  bool finish_outputs(const std::shared_ptr<Run>& run, std::future<void>& computed, CUstream stream);

  Engine& engine_;
  const std::shared_ptr<const Model> model_;
  Voice voice_;
  nvinfer1::ExecutionContextAllocationStrategy strategy_;
  int32_t profile_ = 0;
  std::vector<Shape> inputs_;
  const std::shared_ptr<std::atomic<uint64_t>> reshaped_ = std::make_shared<std::atomic<uint64_t>>(0);
  std::vector<CUdeviceptr> addresses_;  // of the inputs; of values that decide shapes, the host's
  Values values_;                       // as they were for the last run or inference of shapes
  std::vector<Output> outputs_;
  std::unique_ptr<Scratch> scratch_;  // the context's own
  CUdeviceptr given_ = 0;             // the user's
  int64_t given_bytes_ = 0;
  CUevent consumed_ = nullptr;
  std::weak_ptr<Run> last_;
  mutable bool busy_ = false;

  bool debug_sync_ = false;
  bool emits_profile_ = true;
  nvinfer1::IProfiler* profiler_ = nullptr;
  nvinfer1::IGpuAllocator* temporary_ = nullptr;
  nvinfer1::IDebugListener* listener_ = nullptr;
  nvinfer1::ProfilingVerbosity verbosity_ = nvinfer1::ProfilingVerbosity::kLAYER_NAMES_ONLY;
  size_t cache_limit_ = 0;
  std::string name_;
  Alive alive_{"execution_context"};
};

}  // namespace infer
