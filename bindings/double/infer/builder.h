// What building needs beside a network: profiles, settings, a timing cache.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <set>

#include "host_memory.h"

namespace infer {

class OptimizationProfile final : public nvinfer1::IOptimizationProfile,
                                  public nvinfer1::apiv::VOptimizationProfile {
 public:
  explicit OptimizationProfile(Voice voice) : voice_(voice) { mImpl = this; }

  const Profile& ranges() const { return ranges_; }

  bool setDimensions(const char* input, nvinfer1::OptProfileSelector select,
                     const nvinfer1::Dims& dims) noexcept override;
  nvinfer1::Dims getDimensions(const char* input,
                               nvinfer1::OptProfileSelector select) const noexcept override;
  int32_t getNbShapeValues(const char*) const noexcept override { return -1; }
  bool setExtraMemoryTarget(float) noexcept override { return true; }
  float getExtraMemoryTarget() const noexcept override { return 1.0F; }
  bool isValid() const noexcept override;
  bool setShapeValuesV2(const char* input, nvinfer1::OptProfileSelector select, const int64_t* values,
                        int32_t count) noexcept override;
  const int64_t* getShapeValuesV2(const char* input,
                                  nvinfer1::OptProfileSelector select) const noexcept override;
#if NV_TENSORRT_VERSION >= 110400
  void setProfileStream(cudaStream_t stream) noexcept override { stream_ = stream; }
  cudaStream_t getProfileStream() const noexcept override { return stream_; }
#endif
#if NV_TENSORRT_MAJOR == 10
  bool setShapeValues(const char*, nvinfer1::OptProfileSelector, const int32_t*, int32_t) noexcept override {
    return false;
  }
  const int32_t* getShapeValues(const char*, nvinfer1::OptProfileSelector) const noexcept override {
    return nullptr;
  }
#endif

 private:
  Voice voice_;
  Profile ranges_;
#if NV_TENSORRT_VERSION >= 110400
  cudaStream_t stream_ = nullptr;
#endif
};

// Remembers the names of the models that were built with it; the double has nothing to time.
class TimingCache final : public nvinfer1::ITimingCache, public nvinfer1::apiv::VTimingCache {
 public:
  explicit TimingCache(Bytes bytes) : bytes_(std::move(bytes)) { mImpl = this; }

  const Bytes& bytes() const { return bytes_; }
  void learn(const std::string& model);

  nvinfer1::IHostMemory* serialize() const noexcept override { return new HostMemory(bytes_); }
  bool combine(const nvinfer1::ITimingCache& other, bool) noexcept override;
  bool reset() noexcept override {
    bytes_.clear();
    return true;
  }
  int64_t queryKeys(nvinfer1::TimingCacheKey*, int64_t) const noexcept override { return 0; }
  nvinfer1::TimingCacheValue query(const nvinfer1::TimingCacheKey&) const noexcept override {
    return {nvinfer1::TimingCacheValue::kINVALID_TACTIC_HASH, 0.0F};
  }
  bool update(const nvinfer1::TimingCacheKey&, const nvinfer1::TimingCacheValue&) noexcept override {
    return false;
  }

 private:
  Bytes bytes_;
  Alive alive_{"timing_cache"};
};

}  // namespace infer
