// Tells an engine's operations as JSON.
#pragma once

#include <memory>

#include "model.h"
#include "voice.h"

namespace infer {

class Inspector final : public nvinfer1::IEngineInspector, public nvinfer1::apiv::VEngineInspector {
 public:
  Inspector(std::shared_ptr<const Model> model, Voice voice) : voice_(voice), model_(std::move(model)) {
    mImpl = this;
  }

  nvinfer1::IEngineInspector* getPImpl() noexcept override { return this; }
  bool setExecutionContext(const nvinfer1::IExecutionContext* context) noexcept override {
    context_ = context;
    return true;
  }
  const nvinfer1::IExecutionContext* getExecutionContext() const noexcept override { return context_; }
  const char* getLayerInformation(int32_t index, nvinfer1::LayerInformationFormat) const noexcept override {
    if (index < 0 || static_cast<size_t>(index) >= model_->nodes.size()) return nullptr;
    text_ = '"' + model_->nodes[static_cast<size_t>(index)].name + '"';
    return text_.c_str();
  }
  const char* getEngineInformation(nvinfer1::LayerInformationFormat) const noexcept override {
    if (voice_.refuses("IEngineInspector::getEngineInformation")) return nullptr;
    text_ = "{\"Layers\": [";
    for (const auto& node : model_->nodes) text_ += (text_.back() == '[' ? "\"" : ", \"") + node.name + '"';
    text_ += "]}";
    return text_.c_str();
  }
  void setErrorRecorder(nvinfer1::IErrorRecorder* recorder) noexcept override { voice_.recorder = recorder; }
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override { return voice_.recorder; }

 private:
  Voice voice_;
  std::shared_ptr<const Model> model_;
  const nvinfer1::IExecutionContext* context_ = nullptr;
  mutable std::string text_;
  Alive alive_{"inspector"};
};

}  // namespace infer
