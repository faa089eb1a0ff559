// New values for an engine's constants.
#pragma once

#include <map>
#include <memory>

#include "engine.h"

namespace infer {

class Refitter final : public nvinfer1::IRefitter, public nvinfer1::apiv::VRefitter {
 public:
  Refitter(Engine& engine, Voice voice);

  nvinfer1::IRefitter* getPImpl() noexcept override { return this; }
  bool setWeights(const char* layer, nvinfer1::WeightsRole role,
                  const nvinfer1::Weights weights) noexcept override;
  bool refitCudaEngine() noexcept override;
  int32_t getMissing(int32_t size, const char** layers, nvinfer1::WeightsRole* roles) noexcept override;
  int32_t getAll(int32_t size, const char** layers, nvinfer1::WeightsRole* roles) noexcept override;
  void setErrorRecorder(nvinfer1::IErrorRecorder* recorder) noexcept override { voice_.recorder = recorder; }
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override { return voice_.recorder; }
  bool setNamedWeights(const char* name, nvinfer1::Weights weights) noexcept override;
  int32_t getMissingWeights(int32_t size, const char** names) noexcept override;
  int32_t getAllWeights(int32_t size, const char** names) noexcept override;
  nvinfer1::ILogger* getLogger() const noexcept override { return voice_.logger; }
  bool setMaxThreads(int32_t threads) noexcept override;
  int32_t getMaxThreads() const noexcept override { return threads_; }
  bool setNamedWeightsWithLocation(const char* name, nvinfer1::Weights weights,
                                   nvinfer1::TensorLocation location) noexcept override;
  nvinfer1::Weights getNamedWeights(const char* name) const noexcept override;
  nvinfer1::TensorLocation getWeightsLocation(const char* name) const noexcept override;
  bool unsetNamedWeights(const char* name) noexcept override;
  void setWeightsValidation(bool validation) noexcept override { validation_ = validation; }
  bool getWeightsValidation() const noexcept override { return validation_; }
  bool refitCudaEngineAsync(cudaStream_t stream) noexcept override;
  nvinfer1::Weights getWeightsPrototype(const char* name) const noexcept override;
#if NV_TENSORRT_VERSION >= 110400
  bool releaseRefitResources() noexcept override { return true; }
#endif
#if NV_TENSORRT_MAJOR == 10
  bool setDynamicRange(const char*, float, float) noexcept override { return false; }
  float getDynamicRangeMin(const char*) const noexcept override { return 0; }
  float getDynamicRangeMax(const char*) const noexcept override { return 0; }
  int32_t getTensorsWithDynamicRange(int32_t, const char**) const noexcept override { return 0; }
#endif

 private:
  const Tensor* find(const char* name) const;

  Engine& engine_;
  std::shared_ptr<const Model> model_;
  Voice voice_;
  std::map<std::string, nvinfer1::Weights> given_;
  int32_t threads_ = 1;
  bool validation_ = true;
  Alive alive_{"refitter"};
};

// A refitter, or nullptr for an engine that was built without kREFIT.
nvinfer1::IRefitter* make_refitter(Engine& engine, nvinfer1::ILogger& logger);

}  // namespace infer
