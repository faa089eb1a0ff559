// An engine: a plan on a device. Its constant methods may be called by several threads at once.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "kernel.h"
#include "model.h"
#include "voice.h"

namespace infer {

// Device memory by the engine's allocator, or by the double's own; freed with the object.
class Scratch {
 public:
  Scratch(nvinfer1::IGpuAllocator* allocator, size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  CUdeviceptr address() const { return address_; }  // 0: there wasn't enough
  size_t bytes() const { return bytes_; }

 private:
  nvinfer1::IGpuAllocator* allocator_;
  size_t bytes_;
  CUdeviceptr address_ = 0;
};

class Engine final : public nvinfer1::ICudaEngine, public nvinfer1::apiv::VCudaEngine {
 public:
  Engine(std::shared_ptr<Model> model, CUdevice device, Voice voice, nvinfer1::IGpuAllocator* allocator);
  ~Engine() noexcept override;

  // The model as it is now; a refit puts another in its place, and what runs keeps the one it began with.
  std::shared_ptr<const Model> model() const;
  void replace_model(std::shared_ptr<const Model> model);

  CUdevice device() const { return device_; }
  const Voice& voice() const { return voice_; }
  nvinfer1::IGpuAllocator* allocator() const { return allocator_; }
  bool weights_placed() const { return weights_.address() != 0; }
  CUdeviceptr weights() const { return weights_.address(); }
  void* code() const { return code_.get(); }
  void context_made() { ++contexts_; }
  void context_gone() { --contexts_; }

  // Scratch bytes that the shapes of these inputs need, with these values.
  int64_t scratch_bytes(const std::vector<Shape>& inputs, const Values& values) const;

  // Scratch bytes that the largest inputs of a profile need, -1 if there is no such profile.
  int64_t profile_scratch_bytes(int32_t profile) const;

  nvinfer1::ICudaEngine* getPImpl() noexcept override { return this; }
  int32_t getNbLayers() const noexcept override;
  nvinfer1::IHostMemory* serialize() const noexcept override;
  nvinfer1::IExecutionContext* createExecutionContext(
      nvinfer1::ExecutionContextAllocationStrategy strategy) noexcept override;
  bool isRefittable() const noexcept override;
  const char* getName() const noexcept override;
  int32_t getNbOptimizationProfiles() const noexcept override;
  nvinfer1::EngineCapability getEngineCapability() const noexcept override;
  void setErrorRecorder(nvinfer1::IErrorRecorder* recorder) noexcept override;
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override;
  nvinfer1::TacticSources getTacticSources() const noexcept override;
  nvinfer1::ProfilingVerbosity getProfilingVerbosity() const noexcept override;
  nvinfer1::IEngineInspector* createEngineInspector() const noexcept override;
  nvinfer1::Dims getTensorShape(const char* name) const noexcept override;
  nvinfer1::DataType getTensorDataType(const char* name) const noexcept override;
  nvinfer1::TensorLocation getTensorLocation(const char* name) const noexcept override;
  bool isShapeInferenceIO(const char* name) const noexcept override;
  nvinfer1::TensorIOMode getTensorIOMode(const char* name) const noexcept override;
  int32_t getTensorBytesPerComponent(const char* name) const noexcept override;
  int32_t getTensorComponentsPerElement(const char* name) const noexcept override;
  nvinfer1::TensorFormat getTensorFormat(const char* name) const noexcept override;
  const char* getTensorFormatDesc(const char* name) const noexcept override;
  int32_t getTensorVectorizedDim(const char* name) const noexcept override;
  nvinfer1::Dims getProfileShape(const char* name, int32_t profile,
                                 nvinfer1::OptProfileSelector select) const noexcept override;
  int32_t getNbIOTensors() const noexcept override;
  const char* getIOTensorName(int32_t index) const noexcept override;
  nvinfer1::HardwareCompatibilityLevel getHardwareCompatibilityLevel() const noexcept override;
  int32_t getNbAuxStreams() const noexcept override;
  int32_t getTensorBytesPerComponentV2(const char* name, int32_t profile) const noexcept override;
  int32_t getTensorComponentsPerElementV2(const char* name, int32_t profile) const noexcept override;
  nvinfer1::TensorFormat getTensorFormatV2(const char* name, int32_t profile) const noexcept override;
  const char* getTensorFormatDescV2(const char* name, int32_t profile) const noexcept override;
  int32_t getTensorVectorizedDimV2(const char* name, int32_t profile) const noexcept override;
  nvinfer1::ISerializationConfig* createSerializationConfig() noexcept override;
  nvinfer1::IHostMemory* serializeWithConfig(nvinfer1::ISerializationConfig& config) const noexcept override;
  nvinfer1::IRefitter* createRefitter(nvinfer1::ILogger& logger) noexcept override;
  int64_t getStreamableWeightsSize() const noexcept override;
  bool isDebugTensor(const char* name) const noexcept override;
  bool setWeightStreamingBudgetV2(int64_t bytes) noexcept override;
  int64_t getWeightStreamingBudgetV2() const noexcept override;
  int64_t getWeightStreamingAutomaticBudget() const noexcept override;
  int64_t getWeightStreamingScratchMemorySize() const noexcept override;
  int64_t getDeviceMemorySizeV2() const noexcept override;
  int64_t getDeviceMemorySizeForProfileV2(int32_t profile) const noexcept override;
  const int64_t* getProfileTensorValuesV2(const char* name, int32_t profile,
                                          nvinfer1::OptProfileSelector select) const noexcept override;
  nvinfer1::IExecutionContext* createExecutionContextWithRuntimeConfig(
      nvinfer1::IRuntimeConfig* config) noexcept override;
  nvinfer1::IRuntimeConfig* createRuntimeConfig() noexcept override;
  int64_t getEngineStat(nvinfer1::EngineStat stat) const noexcept override;
  const char* getAliasedInputTensor(const char* name) const noexcept override;
#if NV_TENSORRT_MAJOR == 10
  // What has a successor above.
  nvinfer1::IExecutionContext* createExecutionContextWithoutDeviceMemory() noexcept override {
    return createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED);
  }
  bool hasImplicitBatchDimension() const noexcept override { return false; }
  bool setWeightStreamingBudget(int64_t bytes) noexcept override {
    return setWeightStreamingBudgetV2(bytes);
  }
  int64_t getWeightStreamingBudget() const noexcept override { return getWeightStreamingBudgetV2(); }
  int64_t getMinimumWeightStreamingBudget() const noexcept override { return 0; }
  const int32_t* getProfileTensorValues(const char*, int32_t,
                                        nvinfer1::OptProfileSelector) const noexcept override {
    return nullptr;
  }
  size_t getDeviceMemorySize() const noexcept override {
    return static_cast<size_t>(getDeviceMemorySizeV2());
  }
  size_t getDeviceMemorySizeForProfile(int32_t profile) const noexcept override {
    return static_cast<size_t>(getDeviceMemorySizeForProfileV2(profile));
  }
#endif

 private:
  const Tensor* find(const char* where, const char* name) const;

  // Puts the constants on the device, one behind another.
  void place(const Model& model) const;

  // What the tensors are never changes; a refit changes values only, in `current_`.
  const std::shared_ptr<const Model> first_;
  mutable std::mutex lock_;
  std::shared_ptr<const Model> current_;
  CUdevice device_;
  Voice voice_;
  nvinfer1::IGpuAllocator* allocator_;
  Scratch weights_;
  std::shared_ptr<void> code_ = kernel::code();
  int64_t budget_;
  std::atomic<int> contexts_ = 0;
  Alive alive_{"engine"};
};

}  // namespace infer
