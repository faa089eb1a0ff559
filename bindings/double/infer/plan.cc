// Writes and reads plans.
#include "plan.h"

#include <cstring>
#include <stdexcept>

namespace infer {
namespace {

using nvinfer1::ErrorCode;

constexpr char MAGIC[8] = {'F', 'B', 'D', 'O', 'U', 'B', 'L', 'E'};
constexpr uint32_t FORMAT = 1;
// Magic, five numbers of 4 bytes, the length of the rest.
constexpr size_t HEADER = sizeof MAGIC + 5 * sizeof(uint32_t) + sizeof(uint64_t);

class Writer {
 public:
  template <typename Number>
  void number(Number value) {
    raw(&value, sizeof value);
  }
  void text(const std::string& text) {
    number<uint64_t>(text.size());
    raw(text.data(), text.size());
  }
  template <typename Items, typename Write>
  void list(const Items& items, const Write& write) {
    number<uint64_t>(items.size());
    for (const auto& item : items) write(item);
  }
  template <typename Number>
  void numbers(const std::vector<Number>& items) {
    list(items, [this](Number item) { number(item); });
  }
  void raw(const void* data, size_t bytes) {
    const auto* const first = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), first, first + bytes);
  }
  const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

// Throws std::out_of_range where the bytes end too early.
class Reader {
 public:
  Reader(const void* data, size_t bytes) : next_(static_cast<const std::byte*>(data)), left_(bytes) {}

  template <typename Number>
  Number number() {
    Number value;
    std::memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }
  std::string text() {
    const auto bytes = length(1);
    return {reinterpret_cast<const char*>(take(bytes)), bytes};
  }
  template <typename Read>
  void list(const Read& read) {
    for (auto items = length(1); items > 0; --items) read();
  }
  template <typename Number>
  std::vector<Number> numbers() {
    std::vector<Number> items(length(sizeof(Number)));
    for (auto& item : items) item = number<Number>();
    return items;
  }
  const std::byte* take(size_t bytes) {
    if (bytes > left_) throw std::out_of_range("the plan ends too early");
    const auto* const taken = next_;
    next_ += bytes;
    left_ -= bytes;
    return taken;
  }
  // A length of a list whose items have that many bytes or more.
  size_t length(size_t item) {
    const auto items = number<uint64_t>();
    if (items > left_ / item) throw std::out_of_range("the plan ends too early");
    return static_cast<size_t>(items);
  }
  size_t left() const { return left_; }

 private:
  const std::byte* next_;
  size_t left_;
};

void write_profile(Writer& out, const Profile& profile) {
  out.list(profile, [&](const auto& entry) {
    out.text(entry.first);
    for (const auto& shape : entry.second) out.numbers(shape);
  });
}

Profile read_profile(Reader& in) {
  Profile profile;
  in.list([&] {
    auto& range = profile[in.text()];
    for (auto& shape : range) shape = in.numbers<int64_t>();
  });
  return profile;
}

Tensor read_tensor(Reader& in) {
  Tensor tensor;
  tensor.name = in.text();
  tensor.type = static_cast<nvinfer1::DataType>(in.number<int32_t>());
  tensor.dims = in.numbers<int64_t>();
  tensor.constant = in.number<uint8_t>() != 0;
  const auto bytes = in.length(1);
  const auto* const first = in.take(bytes);
  tensor.values.assign(first, first + bytes);
  return tensor;
}

Node read_node(Reader& in) {
  Node node;
  node.operation = static_cast<Operation>(in.number<uint8_t>());
  node.name = in.text();
  node.inputs = in.numbers<uint32_t>();
  node.output = in.number<uint32_t>();
  return node;
}

void read_body(Reader& in, Model& model) {
  model.name = in.text();
  in.list([&] { model.tensors.push_back(read_tensor(in)); });
  model.inputs = in.numbers<uint32_t>();
  model.outputs = in.numbers<uint32_t>();
  in.list([&] { model.nodes.push_back(read_node(in)); });
  in.list([&] { model.profiles.push_back(read_profile(in)); });
}

bool fits(const Model& model, int capability) {
  switch (model.compatibility) {
    case nvinfer1::HardwareCompatibilityLevel::kNONE:
    case nvinfer1::HardwareCompatibilityLevel::kSAME_COMPUTE_CAPABILITY:
      return model.capability == capability;
    case nvinfer1::HardwareCompatibilityLevel::kAMPERE_PLUS:
      return capability >= 80;
  }
  return false;
}

std::string version_text(int number) {
  return std::to_string(number / 10) + "." + std::to_string(number % 10);
}

}  // namespace

Bytes write_plan(const Model& model) {
  Writer body;
  body.text(model.name);
  body.list(model.tensors, [&](const Tensor& tensor) {
    body.text(tensor.name);
    body.number(static_cast<int32_t>(tensor.type));
    body.numbers(tensor.dims);
    body.number(static_cast<uint8_t>(tensor.constant));
    body.number<uint64_t>(tensor.values.size());
    body.raw(tensor.values.data(), tensor.values.size());
  });
  body.numbers(model.inputs);
  body.numbers(model.outputs);
  body.list(model.nodes, [&](const Node& node) {
    body.number(static_cast<uint8_t>(node.operation));
    body.text(node.name);
    body.numbers(node.inputs);
    body.number(node.output);
  });
  body.list(model.profiles, [&](const Profile& profile) { write_profile(body, profile); });

  Writer plan;
  plan.raw(MAGIC, sizeof MAGIC);
  plan.number(FORMAT);
  plan.number(static_cast<uint32_t>(NV_TENSORRT_VERSION));
  plan.number(model.capability);
  plan.number(static_cast<int32_t>(model.compatibility));
  plan.number(model.flags);
  plan.number<uint64_t>(body.bytes().size());
  plan.raw(body.bytes().data(), body.bytes().size());
  return plan.bytes();
}

std::variant<std::shared_ptr<Model>, Refusal> read_plan(const void* data, size_t bytes, int capability) {
  if (data == nullptr || bytes == 0) {
    return Refusal{ErrorCode::kINVALID_ARGUMENT,
                   "Parameter check failed, condition: blob != nullptr && size > 0. The plan is empty."};
  }
  if (bytes < HEADER) {
    return Refusal{ErrorCode::kUNSPECIFIED_ERROR,
                   "Serialization assertion planSize >= headerSize failed. The plan has " +
                       std::to_string(bytes) + " bytes, its header alone has " + std::to_string(HEADER) +
                       "."};
  }
  Reader in(data, bytes);
  if (std::memcmp(in.take(sizeof MAGIC), MAGIC, sizeof MAGIC) != 0) {
    return Refusal{ErrorCode::kUNSPECIFIED_ERROR,
                   "Serialization assertion magicTagRead == kMAGIC_TAG failed. Magic tag does not match."};
  }
  const auto format = in.number<uint32_t>();
  const auto version = in.number<uint32_t>();
  if (format != FORMAT || version != NV_TENSORRT_VERSION) {
    return Refusal{
        ErrorCode::kUNSPECIFIED_ERROR,
        "Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed. Version tag does not "
        "match: the plan was written by version " +
            std::to_string(version) + ", this is version " + std::to_string(NV_TENSORRT_VERSION) +
            "; please rebuild."};
  }
  auto model = std::make_shared<Model>();
  model->capability = in.number<int32_t>();
  model->compatibility = static_cast<nvinfer1::HardwareCompatibilityLevel>(in.number<int32_t>());
  model->flags = in.number<uint32_t>();
  if (!fits(*model, capability)) {
    return Refusal{ErrorCode::kINVALID_CONFIG,
                   "The engine plan file is generated on an incompatible device, expecting compute " +
                       version_text(capability) + " got compute " + version_text(model->capability) +
                       ", please rebuild."};
  }
  const auto body = in.number<uint64_t>();
  if (body != in.left()) {
    return Refusal{ErrorCode::kUNSPECIFIED_ERROR,
                   "Serialization assertion sizeRead == planSize failed. The plan is truncated: " +
                       std::to_string(body) + " bytes expected, " + std::to_string(in.left()) + " found."};
  }
  try {
    read_body(in, *model);
  } catch (const std::out_of_range& error) {
    return Refusal{ErrorCode::kUNSPECIFIED_ERROR, std::string("Serialization failed: ") + error.what() + "."};
  }
  return model;
}

}  // namespace infer
