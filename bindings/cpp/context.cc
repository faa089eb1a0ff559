#include <string>
#include <utility>
#include <vector>

#include "call.h"
#include "convert.h"
#include "library.h"

namespace forebay::FOREBAY_FLAVOUR {
namespace {

// Gives TensorRT memory of Rust's for an output whose size it learns as it runs.
class Allocator final : public nvinfer1::IOutputAllocator {
 public:
  explicit Allocator(rust::Box<OutputMemory> memory) : memory_(std::move(memory)) {}

  void* reallocateOutputAsync(const char* /*tensor*/, void* /*current*/, std::uint64_t size,
                              std::uint64_t /*alignment*/, cudaStream_t /*stream*/) noexcept override {
    return reinterpret_cast<void*>(memory_->reserve(size));
  }

  void notifyShape(const char* /*tensor*/, const nvinfer1::Dims& dims) noexcept override {
    const std::int32_t count = std::clamp(dims.nbDims, 0, nvinfer1::Dims::MAX_DIMS);
    memory_->notify({dims.d, static_cast<std::size_t>(count)});
  }

 private:
  rust::Box<OutputMemory> memory_;
};

std::size_t multiplied(std::size_t a, std::size_t b) {
  std::size_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) {
    throw std::runtime_error("has a tensor of more bytes than can be counted");
  }
  return product;
}

class TheContext final : public Context {
 public:
  TheContext(const nvinfer1::ICudaEngine& engine, std::shared_ptr<const std::vector<std::string>> names,
             std::unique_ptr<nvinfer1::IExecutionContext> context)
      : engine_(engine),
        names_(std::move(names)),
        allocators_(names_->size()),
        context_(std::move(context)) {}

  void set_profile(std::int32_t profile, std::size_t stream) override {
    Call call("switch to that optimization profile");
    call.check(context_->setOptimizationProfileAsync(profile, reinterpret_cast<cudaStream_t>(stream)));
  }

  void set_input_shape(std::size_t tensor, rust::Slice<const std::int64_t> dims) override {
    Call call("take that input shape");
    call.check(context_->setInputShape(name_of(tensor), from_rust(dims)));
  }

  void infer_shapes() override {
    Call call("infer the shapes");
    std::vector<const char*> missing(names_->size());
    const std::int32_t count =
        context_->inferShapes(static_cast<std::int32_t>(missing.size()), missing.data());
    for (std::int32_t index = 0; index < count; ++index) {
      call.say((std::string("the shape or values of ") + missing.at(static_cast<std::size_t>(index)) +
                " are missing")
                   .c_str());
    }
    call.check(count == 0);
  }

  Dims shape(std::size_t tensor) const override {
    Call call("tell the tensor's shape");
    const nvinfer1::Dims dims = context_->getTensorShape(name_of(tensor));
    call.check(dims.nbDims >= 0);
    return to_rust(dims);
  }

  std::size_t size(std::size_t tensor) const override {
    Call call("tell the tensor's size");
    const char* name = name_of(tensor);
    const nvinfer1::Dims dims = context_->getTensorShape(name);
    call.check(dims.nbDims >= 0 && dims.nbDims <= nvinfer1::Dims::MAX_DIMS);
    const std::int32_t profile = context_->getOptimizationProfile();
    const std::int32_t vectorized = engine_.getTensorVectorizedDim(name, profile);
    std::size_t elements = 1;
    for (std::int32_t index = 0; index < dims.nbDims; ++index) {
      if (dims.d[index] < 0) {
        call.say("not all dimensions are known");
        call.fail();
      }
      auto dim = static_cast<std::size_t>(dims.d[index]);
      if (index == vectorized) {
        const auto together = static_cast<std::size_t>(engine_.getTensorComponentsPerElement(name, profile));
        dim = multiplied((dim + together - 1) / together, together);
      }
      elements = multiplied(elements, dim);
    }
    const std::size_t size = multiplied(elements, bits_of(engine_.getTensorDataType(name)));
    return size / 8 + (size % 8 == 0 ? 0 : 1);
  }

  void bind(std::size_t tensor, std::size_t address) override {
    Call call("bind the tensor's memory");
    call.check(context_->setTensorAddress(name_of(tensor), reinterpret_cast<void*>(address)));
  }

  void allocate_output(std::size_t tensor, rust::Box<OutputMemory> memory) override {
    Call call("use an allocator for that output");
    auto allocator = std::make_unique<Allocator>(std::move(memory));
    call.check(context_->setOutputAllocator(name_of(tensor), allocator.get()));
    allocators_.at(tensor) = std::move(allocator);
  }

  void set_scratch(std::size_t address, std::size_t size) override {
    Call call("use that scratch memory");
    context_->setDeviceMemoryV2(reinterpret_cast<void*>(address), static_cast<std::int64_t>(size));
    call.check_silent();
  }

  std::size_t scratch_for_shapes() override {
    Call call("tell how much scratch memory the shapes need");
    const std::size_t size = context_->updateDeviceMemorySizeForShapes();
    call.check_silent();
    return size;
  }

  void set_persistent_cache_limit(std::size_t size) override {
    Call call("limit the persistent cache");
    context_->setPersistentCacheLimit(size);
    call.check_silent();
  }

  void enqueue(std::size_t stream) override {
    Call call("enqueue");
    call.check(context_->enqueueV3(reinterpret_cast<cudaStream_t>(stream)));
  }

 private:
  const char* name_of(std::size_t tensor) const { return names_->at(tensor).c_str(); }

  const nvinfer1::ICudaEngine& engine_;
  std::shared_ptr<const std::vector<std::string>> names_;
  // One a tensor, null where there is none. The context goes before them.
  std::vector<std::unique_ptr<Allocator>> allocators_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
};

}  // namespace

std::unique_ptr<Context> make_context(const nvinfer1::ICudaEngine& engine,
                                      std::shared_ptr<const std::vector<std::string>> names,
                                      std::unique_ptr<nvinfer1::IExecutionContext> context) {
  return std::make_unique<TheContext>(engine, std::move(names), std::move(context));
}

}  // namespace forebay::FOREBAY_FLAVOUR
