// Bytes that the library gives away.
#pragma once

#include "model.h"
#include "voice.h"

namespace infer {

class HostMemory final : public nvinfer1::IHostMemory, public nvinfer1::apiv::VHostMemory {
 public:
  explicit HostMemory(Bytes bytes) : bytes_(std::move(bytes)) { mImpl = this; }

  void* data() const noexcept override { return const_cast<std::byte*>(bytes_.data()); }
  std::size_t size() const noexcept override { return bytes_.size(); }
  nvinfer1::DataType type() const noexcept override { return nvinfer1::DataType::kINT8; }

 private:
  Bytes bytes_;
  Alive alive_{"host_memory"};
};

}  // namespace infer
