// Building: a parsed network and its settings become a plan. No optimization happens, so nothing takes time.
#include "builder.h"

#include <algorithm>

#include "config.h"
#include "control.h"
#include "kernel.h"
#include "network.h"
#include "plan.h"
#include "run.h"

namespace infer {

using namespace nvinfer1;

void Network::fill(Model model) {
  model_ = std::move(model);
  inputs_.clear();
  outputs_.clear();
  for (const auto index : model_.inputs)
    inputs_.push_back(std::make_unique<NetworkTensor>(model_.tensors[index], true, model_.is_shape(index)));
  for (const auto index : model_.outputs)
    outputs_.push_back(std::make_unique<NetworkTensor>(model_.tensors[index], false, false));
}

ITensor* Network::at(const Tensors& tensors, int32_t index, const char* call) const {
  if (voice_.refuses(call) || index < 0 || static_cast<size_t>(index) >= tensors.size()) return nullptr;
  return tensors[static_cast<size_t>(index)].get();
}

bool OptimizationProfile::setDimensions(const char* input, OptProfileSelector select,
                                        const Dims& dims) noexcept {
  if (voice_.refuses("IOptimizationProfile::setDimensions")) return false;
  const auto shape = to_shape(dims);
  const bool possible = std::all_of(shape.begin(), shape.end(), [](int64_t dim) { return dim >= 0; });
  if (possible) ranges_[input][static_cast<size_t>(select)] = shape;
  return possible;
}

bool OptimizationProfile::setShapeValuesV2(const char* input, OptProfileSelector select,
                                           const int64_t* values, int32_t count) noexcept {
  if (voice_.refuses("IOptimizationProfile::setShapeValuesV2") || count < 0) return false;
  ranges_[input][static_cast<size_t>(select)] = to_values(values, static_cast<size_t>(count));
  return true;
}

const int64_t* OptimizationProfile::getShapeValuesV2(const char* input,
                                                     OptProfileSelector select) const noexcept {
  const auto found = ranges_.find(input);
  return found == ranges_.end() ? nullptr : found->second[static_cast<size_t>(select)].data();
}

Dims OptimizationProfile::getDimensions(const char* input, OptProfileSelector select) const noexcept {
  const auto found = ranges_.find(input);
  return found == ranges_.end() ? Dims{-1, {}} : to_dims(found->second[static_cast<size_t>(select)]);
}

bool OptimizationProfile::isValid() const noexcept {
  return std::all_of(ranges_.begin(), ranges_.end(), [](const auto& entry) {
    const auto& [low, best, high] = entry.second;
    if (low.size() != best.size() || best.size() != high.size()) return false;
    for (size_t axis = 0; axis < low.size(); ++axis) {
      if (low[axis] > best[axis] || best[axis] > high[axis]) return false;
    }
    return true;
  });
}

void TimingCache::learn(const std::string& model) {
  for (const char letter : model + '\n') bytes_.push_back(static_cast<std::byte>(letter));
}

bool TimingCache::combine(const ITimingCache& other, bool) noexcept {
  const auto& more = static_cast<const TimingCache&>(other).bytes_;
  bytes_.insert(bytes_.end(), more.begin(), more.end());
  return true;
}

void BuilderConfig::reset() noexcept {
  flags_ = 0;
  profiles_.clear();
  cache_ = nullptr;
}

int32_t BuilderConfig::addOptimizationProfile(const IOptimizationProfile* profile) noexcept {
  constexpr auto* where = "IBuilderConfig::addOptimizationProfile";
  if (voice_.refuses(where)) return -1;
  const auto* const own = static_cast<const OptimizationProfile*>(profile);
  if (own == nullptr || !own->isValid()) {
    voice_.error(where, ErrorCode::kINVALID_ARGUMENT,
                 "Parameter check failed, condition: profile->isValid(): min <= opt <= max");
    return -1;
  }
  profiles_.push_back(own->ranges());
  return getNbOptimizationProfiles() - 1;
}

ITimingCache* BuilderConfig::createTimingCache(const void* blob, std::size_t size) const noexcept {
  if (voice_.refuses("IBuilderConfig::createTimingCache")) return nullptr;
  const auto* const first = static_cast<const std::byte*>(blob);
  return new TimingCache(Bytes(first, first + size));
}

bool BuilderConfig::setTimingCache(const ITimingCache& cache, bool) noexcept {
  if (voice_.refuses("IBuilderConfig::setTimingCache")) return false;
  cache_ = const_cast<TimingCache*>(static_cast<const TimingCache*>(&cache));
  return true;
}

const ITimingCache* BuilderConfig::getTimingCache() const noexcept {
  return voice_.refuses("IBuilderConfig::getTimingCache") ? nullptr : cache_;
}

std::size_t BuilderConfig::getMemoryPoolLimit(MemoryPoolType pool) const noexcept {
  const auto found = pools_.find(pool);
  return found == pools_.end() ? 0 : found->second;
}

void BuilderConfig::setPreviewFeature(PreviewFeature feature, bool enable) noexcept {
  if (enable) {
    previews_.insert(feature);
  } else {
    previews_.erase(feature);
  }
}

void BuilderConfig::setBuilderOptimizationLevel(int32_t level) noexcept {
  constexpr auto* where = "IBuilderConfig::setBuilderOptimizationLevel";
  if (voice_.refuses(where)) return;
  if (level < 0 || level > 5) {
    voice_.error(where, ErrorCode::kINVALID_ARGUMENT, "the level is 0 to 5, not " + std::to_string(level));
    return;
  }
  level_ = level;
}

decltype(std::declval<IBuilderConfig>().setMaxAuxStreams(0)) BuilderConfig::setMaxAuxStreams(
    int32_t streams) noexcept {
  const bool taken = !voice_.refuses("IBuilderConfig::setMaxAuxStreams") && streams >= 0;
  if (taken) aux_streams_ = streams;
#if NV_TENSORRT_MAJOR > 10
  return taken;
#endif
}

class Builder final : public IBuilder, public apiv::VBuilder {
 public:
  explicit Builder(ILogger* logger) : voice_{logger, nullptr} { mImpl = this; }

  int32_t getMaxDLABatchSize() const noexcept override { return 0; }
  int32_t getNbDLACores() const noexcept override { return 0; }
  void setGpuAllocator(IGpuAllocator*) noexcept override {}
  IBuilderConfig* createBuilderConfig() noexcept override {
    return voice_.refuses("IBuilder::createBuilderConfig") ? nullptr : new BuilderConfig(voice_);
  }
  INetworkDefinition* createNetworkV2(NetworkDefinitionCreationFlags flags) noexcept override {
    return voice_.refuses("IBuilder::createNetworkV2") ? nullptr : new Network(*this, voice_, flags);
  }
  IOptimizationProfile* createOptimizationProfile() noexcept override;
  void setErrorRecorder(IErrorRecorder* recorder) noexcept override { voice_.recorder = recorder; }
  IErrorRecorder* getErrorRecorder() const noexcept override { return voice_.recorder; }
  void reset() noexcept override { profiles_.clear(); }
  IHostMemory* buildSerializedNetwork(INetworkDefinition& network, IBuilderConfig& config) noexcept override;
  bool isNetworkSupported(const INetworkDefinition&, const IBuilderConfig&) const noexcept override {
    return true;
  }
#if NV_TENSORRT_MAJOR == 10
  bool platformHasFastFp16() const noexcept override { return true; }
  bool platformHasFastInt8() const noexcept override { return true; }
  bool platformHasTf32() const noexcept override { return true; }
#endif
  ILogger* getLogger() const noexcept override { return voice_.logger; }
  bool setMaxThreads(int32_t threads) noexcept override {
    if (voice_.refuses("IBuilder::setMaxThreads") || threads < 1) return false;
    threads_ = threads;
    return true;
  }
  int32_t getMaxThreads() const noexcept override { return threads_; }
  IPluginRegistry& getPluginRegistry() noexcept override { forbidden("it has no plugins"); }
  ICudaEngine* buildEngineWithConfig(INetworkDefinition&, IBuilderConfig&) noexcept override {
    return nullptr;
  }
  bool buildSerializedNetworkToStream(INetworkDefinition& network, IBuilderConfig& config,
                                      IStreamWriter& writer) noexcept override;
  IHostMemory* buildSerializedNetworkWithKernelText(INetworkDefinition&, IBuilderConfig&,
                                                    IHostMemory*&) noexcept override {
    return nullptr;
  }

 private:
  bool covers(const Model& model, const Profile& profile, std::string& reason) const;

  Voice voice_;
  std::vector<std::unique_ptr<OptimizationProfile>> profiles_;  // TensorRT's builder owns them, too
  int32_t threads_ = 1;
  Alive alive_{"builder"};
};

IOptimizationProfile* Builder::createOptimizationProfile() noexcept {
  if (voice_.refuses("IBuilder::createOptimizationProfile")) return nullptr;
  profiles_.push_back(std::make_unique<OptimizationProfile>(voice_));
  return profiles_.back().get();
}

// Does the profile have a possible range for every input that needs one?
bool Builder::covers(const Model& model, const Profile& profile, std::string& reason) const {
  for (const auto index : model.inputs) {
    const auto& [name, type, dims, constant, values] = model.tensors[index];
    const auto found = profile.find(name);
    const bool shape = model.is_shape(index);
    const bool dynamic = shape || std::find(dims.begin(), dims.end(), -1) != dims.end();
    if (found == profile.end() && !dynamic) continue;
    reason = "input " + name + " has no range in a profile, or one that its declared dimensions " +
             to_text(dims) + " don't allow";
    if (found == profile.end()) return false;
    for (const auto& range : found->second) {
      if (shape) {
        if (range.size() != static_cast<size_t>(dims[0])) return false;
        continue;
      }
      if (range.size() != dims.size()) return false;
      for (size_t axis = 0; axis < dims.size(); ++axis) {
        if (dims[axis] != -1 && dims[axis] != range[axis]) return false;
      }
    }
  }
  return true;
}

// Why elements of fewer than 32 bits can't be had, empty if they can.
std::string mistyped(const Model& model, [[maybe_unused]] const INetworkDefinition& network) {
#if NV_TENSORRT_MAJOR == 10
  // From 11 on networks are strongly typed in any case.
  const bool small = model.uses(DataType::kHALF) || model.uses(DataType::kBF16) ||
                     model.uses(DataType::kINT8) || model.uses(DataType::kFP8);
  if (small && !network.getFlag(NetworkDefinitionCreationFlag::kSTRONGLY_TYPED))
    return "the network isn't strongly typed, and no flag of the builder's allows its types";
#endif
  if (model.uses(DataType::kFP8) && model.capability < 89) {
    return "Cannot compile for target(s) sm" + std::to_string(model.capability) +
           ", because the model contains HW-specific datatypes: fp8_e4m3";
  }
  return {};
}

IHostMemory* Builder::buildSerializedNetwork(INetworkDefinition& network, IBuilderConfig& config) noexcept {
  constexpr auto* where = "IBuilder::buildSerializedNetwork";
  if (voice_.refuses(where)) return nullptr;
  const auto device = kernel::current_device();
  if (!device) {
    voice_.error(where, ErrorCode::kFAILED_INITIALIZATION, "CUDA initialization failure with error: 201");
    return nullptr;
  }
  const auto& settings = static_cast<const BuilderConfig&>(config);
  auto model = static_cast<const Network&>(network).model();
  model.flags = settings.getFlags();
  model.profiles = settings.profiles();
  model.compatibility = settings.getHardwareCompatibilityLevel();
  model.capability = kernel::compute_capability(*device);
  std::string reason;
  auto profiles = model.profiles;
  if (profiles.empty()) profiles.emplace_back();
  for (const auto& profile : profiles) {
    if (covers(model, profile, reason)) continue;
    voice_.error(where, ErrorCode::kINVALID_CONFIG, "Network has dynamic or shape inputs, but " + reason);
    return nullptr;
  }
  if (const auto why = mistyped(model, network); !why.empty()) {
    voice_.error(where, ErrorCode::kUNSPECIFIED_ERROR, why);
    return nullptr;
  }
  if (const auto why = unable(model); !why.empty()) {
    voice_.error(where, ErrorCode::kUNSUPPORTED_STATE, why);
    return nullptr;
  }
  if (auto* const cache = settings.timing_cache()) cache->learn(model.name);
  return new HostMemory(write_plan(model));
}

bool Builder::buildSerializedNetworkToStream(INetworkDefinition& network, IBuilderConfig& config,
                                             IStreamWriter& writer) noexcept {
  const std::unique_ptr<IHostMemory> plan(buildSerializedNetwork(network, config));
  const auto size = plan ? static_cast<int64_t>(plan->size()) : -1;
  return plan && writer.write(plan->data(), size) == size;
}

}  // namespace infer

void* createInferBuilder_INTERNAL(void* logger, int32_t headers) noexcept {
  if (const int code = control::enter("createInferBuilder")) return infer::refused_object<void>(code);
  if (logger == nullptr || headers / 10000 != getInferLibVersion() / 10000) return nullptr;
  return static_cast<nvinfer1::IBuilder*>(new infer::Builder(static_cast<nvinfer1::ILogger*>(logger)));
}

nvinfer1::IPluginRegistry* getBuilderPluginRegistry(nvinfer1::EngineCapability) noexcept { return nullptr; }
bool setInternalLibraryPath(const char*) noexcept { return false; }
