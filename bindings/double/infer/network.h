// A network: a model on its way from the parser to the builder.
#pragma once

#include <memory>

#include "model.h"
#include "refusals.h"

namespace infer {

// What a network tells about an input or output. Only the profile's side of a tensor can be changed: nothing.
class NetworkTensor final : public nvinfer1::ITensor, public nvinfer1::apiv::VTensor {
 public:
  NetworkTensor(Tensor tensor, bool input, bool shape)
      : tensor_(std::move(tensor)), input_(input), shape_(shape) {
    mImpl = this;
  }

  void setName(const char* name) noexcept override { tensor_.name = name; }
  const char* getName() const noexcept override { return tensor_.name.c_str(); }
  void setDimensions(const nvinfer1::Dims& dims) noexcept override { tensor_.dims = to_shape(dims); }
  nvinfer1::Dims getDimensions() const noexcept override { return to_dims(tensor_.dims); }
  nvinfer1::DataType getType() const noexcept override { return tensor_.type; }
  bool isNetworkInput() const noexcept override { return input_; }
  bool isNetworkOutput() const noexcept override { return !input_; }
  void setBroadcastAcrossBatch(bool) noexcept override {}
  bool getBroadcastAcrossBatch() const noexcept override { return false; }
  nvinfer1::TensorLocation getLocation() const noexcept override { return nvinfer1::TensorLocation::kDEVICE; }
  void setLocation(nvinfer1::TensorLocation) noexcept override {}
  void setAllowedFormats(nvinfer1::TensorFormats) noexcept override {}
  nvinfer1::TensorFormats getAllowedFormats() const noexcept override { return 1; }
  bool isShapeTensor() const noexcept override { return shape_; }
  bool isExecutionTensor() const noexcept override { return !shape_; }
  void setDimensionName(int32_t, const char*) noexcept override {}
  const char* getDimensionName(int32_t) const noexcept override { return nullptr; }
#if NV_TENSORRT_MAJOR == 10
  void setType(nvinfer1::DataType) noexcept override {}
  bool setDynamicRange(float, float) noexcept override { return false; }
  bool dynamicRangeIsSet() const noexcept override { return false; }
  void resetDynamicRange() noexcept override {}
  float getDynamicRangeMin() const noexcept override { return 0; }
  float getDynamicRangeMax() const noexcept override { return 0; }
#endif

 private:
  Tensor tensor_;
  bool input_;
  bool shape_;
};

class Network final : public nvinfer1::INetworkDefinition, public Refusals {
 public:
  Network(nvinfer1::IBuilder& builder, Voice voice, nvinfer1::NetworkDefinitionCreationFlags flags)
      : builder_(builder), flags_(flags) {
    voice_ = voice;
    mImpl = this;
  }

  // What the parser made.
  void fill(Model model);
  const Model& model() const { return model_; }

  nvinfer1::ITensor* addInput(const char*, nvinfer1::DataType, const nvinfer1::Dims&) noexcept override {
    return nullptr;
  }
  void markOutput(nvinfer1::ITensor&) noexcept override {}
  int32_t getNbLayers() const noexcept override { return static_cast<int32_t>(model_.nodes.size()); }
  nvinfer1::ILayer* getLayer(int32_t) const noexcept override { return nullptr; }
  int32_t getNbInputs() const noexcept override { return static_cast<int32_t>(inputs_.size()); }
  nvinfer1::ITensor* getInput(int32_t index) const noexcept override {
    return at(inputs_, index, "getInput");
  }
  int32_t getNbOutputs() const noexcept override { return static_cast<int32_t>(outputs_.size()); }
  nvinfer1::ITensor* getOutput(int32_t index) const noexcept override {
    return at(outputs_, index, "getOutput");
  }
  void setName(const char* name) noexcept override { model_.name = name; }
  const char* getName() const noexcept override { return model_.name.c_str(); }
  bool hasImplicitBatchDimension() const noexcept override { return false; }
  void setErrorRecorder(nvinfer1::IErrorRecorder* recorder) noexcept override { voice_.recorder = recorder; }
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override { return voice_.recorder; }
  nvinfer1::IBuilder& getBuilder() const noexcept override { return builder_; }
  nvinfer1::NetworkDefinitionCreationFlags getFlags() const noexcept override { return flags_; }
  bool getFlag(nvinfer1::NetworkDefinitionCreationFlag flag) const noexcept override {
    return ((flags_ >> static_cast<uint32_t>(flag)) & 1U) != 0;
  }

 private:
  using Tensors = std::vector<std::unique_ptr<NetworkTensor>>;
  nvinfer1::ITensor* at(const Tensors& tensors, int32_t index, const char* call) const;

  nvinfer1::IBuilder& builder_;
  nvinfer1::NetworkDefinitionCreationFlags flags_;
  Model model_;
  Tensors inputs_;
  Tensors outputs_;
  Alive alive_{"network"};
};

}  // namespace infer
