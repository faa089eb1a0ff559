// What Rust sees of TensorRT: small classes of ours, the same for both flavours. Each flavour's
// implementation is compiled from the same sources against its own headers. A method that Rust sees as a
// `Result` throws `std::runtime_error` with TensorRT's own message; no other exception leaves. Addresses
// cross as numbers: their owners are on the Rust side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "rust/cxx.h"

namespace forebay {

struct BuildOptions;
struct Dims;
struct NamedBytes;
struct Symbols;
struct TensorInfo;
struct OutputMemory;

// Memory of TensorRT's.
class Bytes {
 public:
  virtual ~Bytes() = default;
  virtual rust::Slice<const std::uint8_t> bytes() const noexcept = 0;
};

// One execution context. Used by one thread at a time.
class Context {
 public:
  virtual ~Context() = default;
  virtual void set_profile(std::int32_t profile, std::size_t stream) = 0;
  virtual void set_input_shape(std::size_t tensor, rust::Slice<const std::int64_t> dims) = 0;
  virtual void infer_shapes() = 0;
  virtual Dims shape(std::size_t tensor) const = 0;
  // Bytes that the tensor can take with the shapes set now.
  virtual std::size_t size(std::size_t tensor) const = 0;
  virtual void bind(std::size_t tensor, std::size_t address) = 0;
  virtual void allocate_output(std::size_t tensor, rust::Box<OutputMemory> memory) = 0;
  virtual void set_scratch(std::size_t address, std::size_t size) = 0;
  virtual std::size_t scratch_for_shapes() = 0;
  virtual void set_persistent_cache_limit(std::size_t size) = 0;
  virtual void enqueue(std::size_t stream) = 0;
};

// New weights for an engine.
class Refitter {
 public:
  virtual ~Refitter() = default;
  virtual rust::Vec<rust::String> weights() const = 0;
  virtual void refit(rust::Slice<const NamedBytes> weights) = 0;
  virtual void refit_from_onnx(rust::Slice<const std::uint8_t> model) = 0;
};

// A deserialized plan. Its constant methods may be called by several threads at once.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual rust::String name() const = 0;
  virtual rust::Vec<TensorInfo> tensors() const = 0;
  virtual std::int32_t profiles() const = 0;
  virtual Dims profile_shape(std::size_t tensor, std::int32_t profile, std::int32_t which) const = 0;
  virtual rust::Vec<std::int64_t> profile_values(std::size_t tensor, std::int32_t profile,
                                                 std::int32_t which) const = 0;
  virtual std::int64_t scratch_size(std::int32_t profile) const = 0;
  virtual std::int32_t layers() const = 0;
  virtual std::int32_t aux_streams() const = 0;
  virtual bool refittable() const = 0;
  virtual std::int32_t hardware_compatibility() const = 0;
  virtual std::int64_t streamable_weights() const = 0;
  virtual std::int64_t weight_budget() const = 0;
  virtual std::int64_t automatic_weight_budget() const = 0;
  virtual void set_weight_budget(std::int64_t bytes) = 0;
  virtual rust::String describe() const = 0;
  virtual std::unique_ptr<Bytes> serialize() const = 0;
  // `for_graphs`: whose first run with new shapes leaves nothing to be compiled later.
  virtual std::unique_ptr<Context> context(std::int32_t allocation, bool for_graphs) const = 0;
  virtual std::unique_ptr<Refitter> refitter() = 0;
};

// Makes engines of plans. May be used by several threads at once.
class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual std::unique_ptr<Engine> deserialize(rust::Slice<const std::uint8_t> plan) const = 0;
};

// A parsed model on its way to a plan. Used by one thread at a time.
class Network {
 public:
  virtual ~Network() = default;
  virtual rust::Vec<TensorInfo> inputs() const = 0;
  virtual rust::Vec<TensorInfo> outputs() const = 0;
  virtual std::unique_ptr<Bytes> build(const BuildOptions& options) = 0;
  // What was learnt of kernels' times by the last build.
  virtual std::unique_ptr<Bytes> timing_cache() const = 0;
};

// A library's entry points. They stay valid: a library is never closed.
class Library {
 public:
  virtual ~Library() = default;
  virtual std::unique_ptr<Runtime> runtime(bool host_code) const = 0;
  virtual std::unique_ptr<Network> parse(rust::Slice<const std::uint8_t> model, rust::Str path) const = 0;
};

namespace enterprise {
std::unique_ptr<Library> make_library(const Symbols& symbols);
}
namespace rtx {
std::unique_ptr<Library> make_library(const Symbols& symbols);
}

}  // namespace forebay
