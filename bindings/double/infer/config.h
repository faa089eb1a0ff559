// The settings of a build. Kept and told; what of them counts for a plan are the flags, the profiles and the
// hardware compatibility.
#pragma once

#include <utility>

#include "builder.h"

namespace infer {

class BuilderConfig final : public nvinfer1::IBuilderConfig, public nvinfer1::apiv::VBuilderConfig {
 public:
  explicit BuilderConfig(Voice voice) : voice_(voice) { mImpl = this; }

  const std::vector<Profile>& profiles() const { return profiles_; }
  TimingCache* timing_cache() const { return cache_; }

  void setAvgTimingIterations(int32_t value) noexcept override { iterations_ = value; }
  int32_t getAvgTimingIterations() const noexcept override { return iterations_; }
  void setEngineCapability(nvinfer1::EngineCapability value) noexcept override { capability_ = value; }
  nvinfer1::EngineCapability getEngineCapability() const noexcept override { return capability_; }
  void setFlags(nvinfer1::BuilderFlags flags) noexcept override { flags_ = flags; }
  nvinfer1::BuilderFlags getFlags() const noexcept override { return flags_; }
  void clearFlag(nvinfer1::BuilderFlag flag) noexcept override { flags_ &= ~bit(flag); }
  void setFlag(nvinfer1::BuilderFlag flag) noexcept override { flags_ |= bit(flag); }
  bool getFlag(nvinfer1::BuilderFlag flag) const noexcept override { return (flags_ & bit(flag)) != 0; }
  void setDeviceType(const nvinfer1::ILayer*, nvinfer1::DeviceType) noexcept override {}
  nvinfer1::DeviceType getDeviceType(const nvinfer1::ILayer*) const noexcept override { return device_type_; }
  bool isDeviceTypeSet(const nvinfer1::ILayer*) const noexcept override { return false; }
  void resetDeviceType(const nvinfer1::ILayer*) noexcept override {}
  bool canRunOnDLA(const nvinfer1::ILayer*) const noexcept override { return false; }
  void setDLACore(int32_t) noexcept override {}
  int32_t getDLACore() const noexcept override { return -1; }
  void setDefaultDeviceType(nvinfer1::DeviceType type) noexcept override { device_type_ = type; }
  nvinfer1::DeviceType getDefaultDeviceType() const noexcept override { return device_type_; }
  void reset() noexcept override;
  void setProfileStream(const cudaStream_t stream) noexcept override { stream_ = stream; }
  cudaStream_t getProfileStream() const noexcept override { return stream_; }
  int32_t addOptimizationProfile(const nvinfer1::IOptimizationProfile* profile) noexcept override;
  int32_t getNbOptimizationProfiles() const noexcept override {
    return static_cast<int32_t>(profiles_.size());
  }
  void setProfilingVerbosity(nvinfer1::ProfilingVerbosity verbosity) noexcept override {
    verbosity_ = verbosity;
  }
  nvinfer1::ProfilingVerbosity getProfilingVerbosity() const noexcept override { return verbosity_; }
  bool setTacticSources(nvinfer1::TacticSources sources) noexcept override {
    tactics_ = sources;
    return true;
  }
  nvinfer1::TacticSources getTacticSources() const noexcept override { return tactics_; }
  nvinfer1::ITimingCache* createTimingCache(const void* blob, std::size_t size) const noexcept override;
  bool setTimingCache(const nvinfer1::ITimingCache& cache, bool ignore_mismatch) noexcept override;
  const nvinfer1::ITimingCache* getTimingCache() const noexcept override;
  void setMemoryPoolLimit(nvinfer1::MemoryPoolType pool, std::size_t size) noexcept override {
    pools_[pool] = size;
  }
  std::size_t getMemoryPoolLimit(nvinfer1::MemoryPoolType pool) const noexcept override;
  void setPreviewFeature(nvinfer1::PreviewFeature feature, bool enable) noexcept override;
  bool getPreviewFeature(nvinfer1::PreviewFeature feature) const noexcept override {
    return previews_.count(feature) > 0;
  }
  void setBuilderOptimizationLevel(int32_t level) noexcept override;
  int32_t getBuilderOptimizationLevel() const noexcept override { return level_; }
  void setHardwareCompatibilityLevel(nvinfer1::HardwareCompatibilityLevel level) noexcept override {
    compatibility_ = level;
  }
  nvinfer1::HardwareCompatibilityLevel getHardwareCompatibilityLevel() const noexcept override {
    return compatibility_;
  }
  void setPluginsToSerialize(const char* const*, int32_t) noexcept override {}
  const char* getPluginToSerialize(int32_t) const noexcept override { return nullptr; }
  int32_t getNbPluginsToSerialize() const noexcept override { return 0; }
  // Returns nothing up to 10, and whether it took the number from 11 on.
  decltype(std::declval<nvinfer1::IBuilderConfig>().setMaxAuxStreams(0)) setMaxAuxStreams(
      int32_t streams) noexcept override;
  int32_t getMaxAuxStreams() const noexcept override { return aux_streams_; }
  void setProgressMonitor(nvinfer1::IProgressMonitor* monitor) noexcept override { monitor_ = monitor; }
  nvinfer1::IProgressMonitor* getProgressMonitor() const noexcept override { return monitor_; }
  void setRuntimePlatform(nvinfer1::RuntimePlatform platform) noexcept override { platform_ = platform; }
  nvinfer1::RuntimePlatform getRuntimePlatform() const noexcept override { return platform_; }
  void setMaxNbTactics(int32_t) noexcept override {}
  int32_t getMaxNbTactics() const noexcept override { return -1; }
  bool setTilingOptimizationLevel(nvinfer1::TilingOptimizationLevel) noexcept override { return true; }
  nvinfer1::TilingOptimizationLevel getTilingOptimizationLevel() const noexcept override { return {}; }
  bool setL2LimitForTiling(int64_t) noexcept override { return true; }
  int64_t getL2LimitForTiling() const noexcept override { return 0; }
  bool setRemoteAutoTuningConfig(const char*) noexcept override { return false; }
  const char* getRemoteAutoTuningConfig() const noexcept override { return nullptr; }
#if NV_TENSORRT_MAJOR > 10
  bool setBuildRoute(const char*) noexcept override { return false; }
  const char* getBuildRoute() const noexcept override { return nullptr; }
  const char* getAllBuildRoutes() const noexcept override { return nullptr; }
#else
  nvinfer1::IAlgorithmSelector* getAlgorithmSelector() const noexcept override { return nullptr; }
  void setAlgorithmSelector(nvinfer1::IAlgorithmSelector*) noexcept override {}
  nvinfer1::IInt8Calibrator* getInt8Calibrator() const noexcept override { return nullptr; }
  void setInt8Calibrator(nvinfer1::IInt8Calibrator*) noexcept override {}
  const nvinfer1::IOptimizationProfile* getCalibrationProfile() noexcept override { return nullptr; }
  bool setCalibrationProfile(const nvinfer1::IOptimizationProfile*) noexcept override { return false; }
  nvinfer1::QuantizationFlags getQuantizationFlags() const noexcept override { return 0; }
  void setQuantizationFlags(nvinfer1::QuantizationFlags) noexcept override {}
  bool getQuantizationFlag(nvinfer1::QuantizationFlag) const noexcept override { return false; }
  void setQuantizationFlag(nvinfer1::QuantizationFlag) noexcept override {}
  void clearQuantizationFlag(nvinfer1::QuantizationFlag) noexcept override {}
#endif

 private:
  static uint32_t bit(nvinfer1::BuilderFlag flag) { return 1U << static_cast<uint32_t>(flag); }

  Voice voice_;
  nvinfer1::BuilderFlags flags_ = 0;
  std::vector<Profile> profiles_;
  nvinfer1::HardwareCompatibilityLevel compatibility_ = nvinfer1::HardwareCompatibilityLevel::kNONE;
  TimingCache* cache_ = nullptr;  // the caller's
  int32_t iterations_ = 1;
  nvinfer1::EngineCapability capability_ = nvinfer1::EngineCapability::kSTANDARD;
  nvinfer1::DeviceType device_type_ = nvinfer1::DeviceType::kGPU;
  cudaStream_t stream_ = nullptr;
  nvinfer1::ProfilingVerbosity verbosity_ = nvinfer1::ProfilingVerbosity::kLAYER_NAMES_ONLY;
  nvinfer1::TacticSources tactics_ = 0;
  std::map<nvinfer1::MemoryPoolType, std::size_t> pools_;
  std::set<nvinfer1::PreviewFeature> previews_;
  int32_t level_ = 3;  // TensorRT's default
  int32_t aux_streams_ = -1;
  nvinfer1::IProgressMonitor* monitor_ = nullptr;
  nvinfer1::RuntimePlatform platform_ = nvinfer1::RuntimePlatform::kSAME_AS_BUILD;
  Alive alive_{"builder_config"};
};

}  // namespace infer
