#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "NvInfer.h"
#include "NvOnnxParser.h"
#include "call.h"
#include "convert.h"
#include "library.h"
#include "parser_errors.h"

namespace forebay::FOREBAY_FLAVOUR {
namespace {

TensorInfo describe(const nvinfer1::ITensor& tensor, nvinfer1::TensorIOMode mode) {
  return {to_rust(tensor.getName()),
          static_cast<std::int32_t>(mode),
          static_cast<std::int32_t>(tensor.getType()),
          static_cast<std::int32_t>(nvinfer1::TensorLocation::kDEVICE),
          tensor.isShapeTensor(),
          to_rust(tensor.getDimensions())};
}

// Older headers have it return nothing.
template <typename Config>
bool set_aux_streams(Config& config, std::int32_t streams) {
  if constexpr (std::is_void_v<decltype(config.setMaxAuxStreams(streams))>) {
    config.setMaxAuxStreams(streams);
    return true;
  } else {
    return config.setMaxAuxStreams(streams);
  }
}

nvinfer1::BuilderFlag to_tensorrt(BuilderFlag flag) {
  switch (flag) {
    case BuilderFlag::Refit:
      return nvinfer1::BuilderFlag::kREFIT;
    case BuilderFlag::RefitIdentical:
      return nvinfer1::BuilderFlag::kREFIT_IDENTICAL;
    case BuilderFlag::Tf32:
      return nvinfer1::BuilderFlag::kTF32;
    case BuilderFlag::SparseWeights:
      return nvinfer1::BuilderFlag::kSPARSE_WEIGHTS;
    case BuilderFlag::VersionCompatible:
      return nvinfer1::BuilderFlag::kVERSION_COMPATIBLE;
    case BuilderFlag::ExcludeLeanRuntime:
      return nvinfer1::BuilderFlag::kEXCLUDE_LEAN_RUNTIME;
    case BuilderFlag::StripPlan:
      return nvinfer1::BuilderFlag::kSTRIP_PLAN;
    case BuilderFlag::WeightStreaming:
      return nvinfer1::BuilderFlag::kWEIGHT_STREAMING;
  }
  throw std::runtime_error("knows no such flag");
}

class TheNetwork final : public Network {
 public:
  TheNetwork(const Entry& entry, rust::Slice<const std::uint8_t> model, const std::string& path) {
    Call call("parse the model");
    if (entry.create_builder == nullptr || entry.create_parser == nullptr) {
      call.say("this library runs engines and builds none");
      call.fail();
    }
    builder_.reset(
        static_cast<nvinfer1::IBuilder*>(call.object(entry.create_builder(&logger(), NV_TENSORRT_VERSION))));
    network_.reset(call.object(builder_->createNetworkV2(network_flags)));
    parser_.reset(static_cast<nvonnxparser::IParser*>(
        call.object(entry.create_parser(network_.get(), &logger(), nvonnxparser_version))));
    if (!parser_->parse(model.data(), model.size(), path.c_str())) {
      say_errors(call, *parser_);
      call.fail();
    }
    // No bytes at all are a valid message of ONNX's.
    if (network_->getNbOutputs() == 0) {
      call.say("it has no outputs");
      call.fail();
    }
  }

  rust::Vec<TensorInfo> inputs() const override {
    Call call("tell the model's inputs");
    rust::Vec<TensorInfo> inputs;
    for (std::int32_t index = 0; index < network_->getNbInputs(); ++index) {
      inputs.push_back(describe(*call.object(network_->getInput(index)), nvinfer1::TensorIOMode::kINPUT));
    }
    return inputs;
  }

  rust::Vec<TensorInfo> outputs() const override {
    Call call("tell the model's outputs");
    rust::Vec<TensorInfo> outputs;
    for (std::int32_t index = 0; index < network_->getNbOutputs(); ++index) {
      outputs.push_back(describe(*call.object(network_->getOutput(index)), nvinfer1::TensorIOMode::kOUTPUT));
    }
    return outputs;
  }

  std::unique_ptr<Bytes> build(const BuildOptions& options) override {
    Call call("build the plan", Hears::all_threads);
    config_.reset(call.object(builder_->createBuilderConfig()));
    set_limits(call, options);
    set_timing_cache(call, options);
    add_profiles(call, options);
    return make_bytes(std::unique_ptr<nvinfer1::IHostMemory>(
        call.object(builder_->buildSerializedNetwork(*network_, *config_))));
  }

  std::unique_ptr<Bytes> timing_cache() const override {
    Call call("tell the timing cache");
#ifdef FOREBAY_RTX
    call.say(no_timing_cache);
    call.fail();
#else
    const nvinfer1::ITimingCache* cache = config_ == nullptr ? nullptr : config_->getTimingCache();
    call.check(cache != nullptr);
    return make_bytes(std::unique_ptr<nvinfer1::IHostMemory>(call.object(cache->serialize())));
#endif
  }

 private:
  static constexpr std::int32_t nvonnxparser_version = NV_ONNX_PARSER_VERSION;
#if NV_TENSORRT_MAJOR == 10
  // The model says each type, as it does from 11 on in any case.
  static constexpr nvinfer1::NetworkDefinitionCreationFlags network_flags =
      1U << static_cast<std::uint32_t>(nvinfer1::NetworkDefinitionCreationFlag::kSTRONGLY_TYPED);
#else
  static constexpr nvinfer1::NetworkDefinitionCreationFlags network_flags = 0;
#endif
#ifdef FOREBAY_RTX
  static constexpr const char* no_timing_cache =
      "TensorRT-RTX times no kernels as it builds: it has no timing cache";
#endif

  void set_limits(Call& call, const BuildOptions& options) {
    config_->setFlags(0);
    for (const BuilderFlag flag : options.flags) {
      config_->setFlag(to_tensorrt(flag));
    }
    if (options.workspace >= 0) {
      config_->setMemoryPoolLimit(nvinfer1::MemoryPoolType::kWORKSPACE,
                                  static_cast<std::size_t>(options.workspace));
    }
    if (options.optimization_level >= 0) {
      config_->setBuilderOptimizationLevel(options.optimization_level);
    }
    if (options.max_aux_streams >= 0) {
      call.check(set_aux_streams(*config_, options.max_aux_streams));
    }
    if (options.max_threads >= 0) {
      call.check(builder_->setMaxThreads(options.max_threads));
    }
    if (options.hardware_compatibility >= 0) {
      config_->setHardwareCompatibilityLevel(
          static_cast<nvinfer1::HardwareCompatibilityLevel>(options.hardware_compatibility));
    }
    set_compute_capabilities(call, options.compute_capabilities);
    call.check_silent();
  }

  void set_compute_capabilities(Call& call, const rust::Vec<std::int32_t>& capabilities) {
    if (capabilities.empty()) {
      return;
    }
#ifdef FOREBAY_RTX
    call.check(config_->setNbComputeCapabilities(static_cast<std::int32_t>(capabilities.size())));
    std::int32_t index = 0;
    for (const std::int32_t capability : capabilities) {
      call.check(
          config_->setComputeCapability(static_cast<nvinfer1::ComputeCapability>(capability), index++));
    }
#else
    call.say("compute capabilities can be chosen with TensorRT-RTX alone");
    call.fail();
#endif
  }

  void set_timing_cache(Call& call, const BuildOptions& options) {
    if (!options.use_timing_cache) {
      return;
    }
#ifdef FOREBAY_RTX
    call.say(no_timing_cache);
    call.fail();
#else
    const auto& blob = options.timing_cache;
    cache_.reset(call.object(config_->createTimingCache(blob.data(), blob.size())));
    call.check(config_->setTimingCache(*cache_, false));
#endif
  }

  void add_profiles(Call& call, const BuildOptions& options) {
    for (std::size_t profile = 0; profile < options.profiles; ++profile) {
      // The builder owns profiles.
      nvinfer1::IOptimizationProfile* made = call.object(builder_->createOptimizationProfile());
      for (const Range& range : options.ranges) {
        if (range.profile == profile) {
          set_range(call, *made, range);
        }
      }
      call.check(config_->addOptimizationProfile(made) >= 0);
    }
  }

  // TensorRT takes ranges of inputs that there aren't, and values of inputs that are no shapes: no errors of
  // its own.
  void check_input(Call& call, const std::string& name, bool values) const {
    for (std::int32_t index = 0; index < network_->getNbInputs(); ++index) {
      const nvinfer1::ITensor& input = *call.object(network_->getInput(index));
      if (name == input.getName()) {
        if (values && !input.isShapeTensor()) {
          call.say(("the values of input " + name + " decide no shapes").c_str());
          call.fail();
        }
        return;
      }
    }
    call.say(("the model has no input " + name).c_str());
    call.fail();
  }

  void set_range(Call& call, nvinfer1::IOptimizationProfile& profile, const Range& range) const {
    using nvinfer1::OptProfileSelector;
    const std::string input(range.input);
    check_input(call, input, range.values);
    const std::pair<OptProfileSelector, const rust::Vec<std::int64_t>*> all[] = {
        {OptProfileSelector::kMIN, &range.min},
        {OptProfileSelector::kOPT, &range.opt},
        {OptProfileSelector::kMAX, &range.max}};
    for (const auto& [selector, numbers] : all) {
      const rust::Slice<const std::int64_t> slice(numbers->data(), numbers->size());
      const bool taken = range.values ? profile.setShapeValuesV2(input.c_str(), selector, slice.data(),
                                                                 static_cast<std::int32_t>(slice.size()))
                                      : profile.setDimensions(input.c_str(), selector, from_rust(slice));
      if (!taken) {
        call.say(("the range of input " + input + " is not possible").c_str());
        call.fail();
      }
    }
  }

  // Destroyed from the last to the first: the parser owns weights that the network uses.
  std::unique_ptr<nvinfer1::IBuilder> builder_;
#ifndef FOREBAY_RTX
  std::unique_ptr<nvinfer1::ITimingCache> cache_;
#endif
  std::unique_ptr<nvonnxparser::IParser> parser_;
  std::unique_ptr<nvinfer1::INetworkDefinition> network_;
  std::unique_ptr<nvinfer1::IBuilderConfig> config_;
};

}  // namespace

std::unique_ptr<Network> make_network(const Entry& entry, rust::Slice<const std::uint8_t> model,
                                      const std::string& path) {
  return std::make_unique<TheNetwork>(entry, model, path);
}

}  // namespace forebay::FOREBAY_FLAVOUR
