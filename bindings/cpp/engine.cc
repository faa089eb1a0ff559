#include <string>
#include <utility>
#include <vector>

#include "call.h"
#include "convert.h"
#include "library.h"

namespace forebay::FOREBAY_FLAVOUR {
namespace {

class TheEngine final : public Engine {
 public:
  TheEngine(const Entry& entry, std::unique_ptr<nvinfer1::ICudaEngine> engine)
      : entry_(entry), engine_(std::move(engine)) {
    Call call("tell the names of the engine's tensors");
    auto names = std::make_shared<std::vector<std::string>>();
    for (std::int32_t index = 0; index < engine_->getNbIOTensors(); ++index) {
      names->emplace_back(call.object(engine_->getIOTensorName(index)));
    }
    names_ = std::move(names);
  }

  rust::String name() const override { return to_rust(engine_->getName()); }

  rust::Vec<TensorInfo> tensors() const override {
    Call call("tell the engine's tensors");
    rust::Vec<TensorInfo> tensors;
    for (const std::string& name : *names_) {
      const char* tensor = name.c_str();
      tensors.push_back({to_rust(tensor), static_cast<std::int32_t>(engine_->getTensorIOMode(tensor)),
                         static_cast<std::int32_t>(engine_->getTensorDataType(tensor)),
                         static_cast<std::int32_t>(engine_->getTensorLocation(tensor)),
                         engine_->isShapeInferenceIO(tensor), to_rust(engine_->getTensorShape(tensor))});
    }
    return tensors;
  }

  std::int32_t profiles() const override { return engine_->getNbOptimizationProfiles(); }

  Dims profile_shape(std::size_t tensor, std::int32_t profile, std::int32_t which) const override {
    Call call("tell a profile's shapes");
    const auto selector = static_cast<nvinfer1::OptProfileSelector>(which);
    const nvinfer1::Dims dims = engine_->getProfileShape(name_of(tensor), profile, selector);
    call.check(dims.nbDims >= 0);
    return to_rust(dims);
  }

  rust::Vec<std::int64_t> profile_values(std::size_t tensor, std::int32_t profile,
                                         std::int32_t which) const override {
    Call call("tell a profile's values");
    const char* name = name_of(tensor);
    const auto selector = static_cast<nvinfer1::OptProfileSelector>(which);
    const std::int64_t* values = engine_->getProfileTensorValuesV2(name, profile, selector);
    call.check(values != nullptr);
    const nvinfer1::Dims dims = engine_->getTensorShape(name);
    // A shape tensor has one dimension at most.
    const std::int64_t count = dims.nbDims == 0 ? 1 : dims.d[0];
    rust::Vec<std::int64_t> copied;
    for (std::int64_t index = 0; index < count; ++index) {
      copied.push_back(values[index]);
    }
    return copied;
  }

  std::int64_t scratch_size(std::int32_t profile) const override {
    Call call("tell how much scratch memory a profile needs");
    const std::int64_t size = engine_->getDeviceMemorySizeForProfileV2(profile);
    call.check(size >= 0);
    return size;
  }

  std::int32_t layers() const override { return engine_->getNbLayers(); }
  std::int32_t aux_streams() const override { return engine_->getNbAuxStreams(); }
  bool refittable() const override { return engine_->isRefittable(); }
  std::int32_t hardware_compatibility() const override {
    return static_cast<std::int32_t>(engine_->getHardwareCompatibilityLevel());
  }
  std::int64_t streamable_weights() const override { return engine_->getStreamableWeightsSize(); }
  std::int64_t weight_budget() const override { return engine_->getWeightStreamingBudgetV2(); }
  std::int64_t automatic_weight_budget() const override {
    return engine_->getWeightStreamingAutomaticBudget();
  }

  void set_weight_budget(std::int64_t bytes) override {
    Call call("stream weights within that budget");
    call.check(engine_->setWeightStreamingBudgetV2(bytes));
  }

  rust::String describe() const override {
    Call call("describe the engine's layers");
    std::unique_ptr<nvinfer1::IEngineInspector> inspector(call.object(engine_->createEngineInspector()));
    const char* text = inspector->getEngineInformation(nvinfer1::LayerInformationFormat::kJSON);
    call.check(text != nullptr);
    return to_rust(text);
  }

  std::unique_ptr<Bytes> serialize() const override {
    Call call("serialize the engine");
    return make_bytes(std::unique_ptr<nvinfer1::IHostMemory>(call.object(engine_->serialize())));
  }

  std::unique_ptr<Context> context(std::int32_t allocation, bool for_graphs) const override {
    Call call("make an execution context");
    const auto strategy = static_cast<nvinfer1::ExecutionContextAllocationStrategy>(allocation);
    auto* const created =
        for_graphs ? make_for_graphs(call, strategy) : engine_->createExecutionContext(strategy);
    std::unique_ptr<nvinfer1::IExecutionContext> context(call.object(created));
    return make_context(*engine_, names_, std::move(context));
  }

  std::unique_ptr<Refitter> refitter() override { return make_refitter(entry_, *engine_); }

 private:
  const char* name_of(std::size_t tensor) const { return names_->at(tensor).c_str(); }

#ifdef FOREBAY_RTX
  // RTX compiles kernels for new shapes in the background unless told otherwise, and takes them once they
  // are there: a graph would keep what stood in for them, for ever.
  nvinfer1::IExecutionContext* make_for_graphs(
      const Call& call, nvinfer1::ExecutionContextAllocationStrategy strategy) const {
    const std::unique_ptr<nvinfer1::IRuntimeConfig> config(call.object(engine_->createRuntimeConfig()));
    config->setExecutionContextAllocationStrategy(strategy);
    config->setDynamicShapesKernelSpecializationStrategy(
        nvinfer1::DynamicShapesKernelSpecializationStrategy::kEAGER);
    // Graphs are ours: one that RTX captured itself could be in none of them.
    call.check(config->setCudaGraphStrategy(nvinfer1::CudaGraphStrategy::kDISABLED));
    return engine_->createExecutionContext(config.get());
  }
#else
  // All that its kernels need is in the plan.
  nvinfer1::IExecutionContext* make_for_graphs(
      const Call& /*call*/, nvinfer1::ExecutionContextAllocationStrategy strategy) const {
    return engine_->createExecutionContext(strategy);
  }
#endif

  Entry entry_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  std::shared_ptr<const std::vector<std::string>> names_;
};

}  // namespace

std::unique_ptr<Engine> make_engine(const Entry& entry, std::unique_ptr<nvinfer1::ICudaEngine> engine) {
  return std::make_unique<TheEngine>(entry, std::move(engine));
}

}  // namespace forebay::FOREBAY_FLAVOUR
