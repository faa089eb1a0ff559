#include "library.h"

#include <stdexcept>
#include <utility>

#include "call.h"
#include "forebay-bindings/src/bridge.rs.h"

namespace forebay::FOREBAY_FLAVOUR {
namespace {

class HostBytes final : public Bytes {
 public:
  explicit HostBytes(std::unique_ptr<nvinfer1::IHostMemory> memory) : memory_(std::move(memory)) {}

  rust::Slice<const std::uint8_t> bytes() const noexcept override {
    return {static_cast<const std::uint8_t*>(memory_->data()), memory_->size()};
  }

 private:
  std::unique_ptr<nvinfer1::IHostMemory> memory_;
};

class TheRuntime final : public Runtime {
 public:
  TheRuntime(const Entry& entry, bool host_code) : entry_(entry) {
    Call call("make a runtime");
    void* created = call.object(entry.create_runtime(&logger(), NV_TENSORRT_VERSION));
    runtime_.reset(static_cast<nvinfer1::IRuntime*>(created));
    runtime_->setEngineHostCodeAllowed(host_code);
  }

  std::unique_ptr<Engine> deserialize(rust::Slice<const std::uint8_t> plan) const override {
    Call call("deserialize the plan", Hears::all_threads);
    auto* engine = call.object(runtime_->deserializeCudaEngine(plan.data(), plan.size()));
    return make_engine(entry_, std::unique_ptr<nvinfer1::ICudaEngine>(engine));
  }

 private:
  Entry entry_;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
};

class TheLibrary final : public Library {
 public:
  explicit TheLibrary(const Entry& entry) : entry_(entry) {}

  std::unique_ptr<Runtime> runtime(bool host_code) const override {
    return std::make_unique<TheRuntime>(entry_, host_code);
  }

  std::unique_ptr<Network> parse(rust::Slice<const std::uint8_t> model, rust::Str path) const override {
    return make_network(entry_, model, std::string(path));
  }

 private:
  Entry entry_;
};

template <typename Function>
Function function(std::size_t address) {
  return reinterpret_cast<Function>(address);
}

}  // namespace

std::unique_ptr<Bytes> make_bytes(std::unique_ptr<nvinfer1::IHostMemory> memory) {
  return std::make_unique<HostBytes>(std::move(memory));
}

std::unique_ptr<Library> make_library(const Symbols& symbols) {
  Entry entry{};
  entry.create_runtime = function<decltype(entry.create_runtime)>(symbols.runtime);
  entry.create_refitter = function<decltype(entry.create_refitter)>(symbols.refitter);
  entry.create_builder = function<decltype(entry.create_builder)>(symbols.builder);
  entry.create_parser = function<decltype(entry.create_parser)>(symbols.parser);
  entry.create_parser_refitter = function<decltype(entry.create_parser_refitter)>(symbols.parser_refitter);
  return std::make_unique<TheLibrary>(entry);
}

}  // namespace forebay::FOREBAY_FLAVOUR
