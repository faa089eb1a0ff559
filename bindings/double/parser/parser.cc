// The ONNX parser's library: fills the double's networks and refits its engines from ONNX files.
#include <fstream>
#include <iterator>
#include <memory>

#include "NvOnnxParser.h"
#include "control.h"
#include "network.h"
#include "onnx.h"

namespace parser {
namespace {

using nvonnxparser::ErrorCode;

class Error final : public nvonnxparser::IParserError {
 public:
  Error(ErrorCode code, std::string text) : code_(code), text_(std::move(text)) {}
  explicit Error(const Unsupported& error)
      : code_(ErrorCode::kUNSUPPORTED_NODE),
        text_(error.what()),
        node_(error.node_index),
        name_(error.node_name),
        operation_(error.node_type) {}

  ErrorCode code() const override { return code_; }
  const char* desc() const override { return text_.c_str(); }
  const char* file() const override { return "double"; }
  int line() const override { return 0; }
  const char* func() const override { return "parse"; }
  int node() const override { return node_; }
  const char* nodeName() const override { return name_.c_str(); }
  const char* nodeOperator() const override { return operation_.c_str(); }
  const char* const* localFunctionStack() const override { return nullptr; }
  int32_t localFunctionStackSize() const override { return 0; }

 private:
  ErrorCode code_;
  std::string text_;
  int node_ = -1;
  std::string name_;
  std::string operation_;
};

// The errors of a parser or refitter, said to the logger as well.
class Errors {
 public:
  explicit Errors(nvinfer1::ILogger* logger) : logger_(logger) {}

  void add(Error error) {
    logger_->log(nvinfer1::ILogger::Severity::kERROR, error.desc());
    errors_.push_back(std::make_unique<Error>(std::move(error)));
  }
  int count() const { return static_cast<int>(errors_.size()); }
  const Error* at(int index) const {
    return index < 0 || index >= count() ? nullptr : errors_[static_cast<size_t>(index)].get();
  }
  void clear() { errors_.clear(); }

  // Reads the model, or adds why it can't be read.
  bool read(const void* data, size_t bytes, infer::Model& model) {
    try {
      model = read_model(data, bytes);
      return true;
    } catch (const Unsupported& error) {
      add(Error(error));
    } catch (const Malformed& error) {
      add({ErrorCode::kMODEL_DESERIALIZE_FAILED, std::string("Failed to parse ONNX model: ") + error.what()});
    }
    return false;
  }

  // As a rule of the test says.
  bool refuses(const char* call) {
    if (control::enter(call) == 0) return false;
    add({ErrorCode::kINTERNAL_ERROR, std::string(call) + ": a rule of the test"});
    return true;
  }

 private:
  nvinfer1::ILogger* logger_;
  std::vector<std::unique_ptr<Error>> errors_;
};

std::string read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Parser final : public nvonnxparser::IParser {
 public:
  Parser(infer::Network& network, nvinfer1::ILogger* logger) : network_(network), errors_(logger) {}

  bool parse(const void* data, size_t bytes, const char*) noexcept override {
    infer::Model model;
    if (errors_.refuses("parse") || !errors_.read(data, bytes, model)) return false;
    network_.fill(std::move(model));
    return true;
  }
  bool parseFromFile(const char* path, int) noexcept override {
    const auto bytes = read_file(path);
    if (bytes.empty()) {
      errors_.add({ErrorCode::kMODEL_DESERIALIZE_FAILED, std::string("Could not open file ") + path});
      return false;
    }
    return parse(bytes.data(), bytes.size(), path);
  }
  bool supportsOperator(const char* name) const noexcept override { return supports(name); }
  int getNbErrors() const noexcept override { return errors_.count(); }
  const nvonnxparser::IParserError* getError(int index) const noexcept override { return errors_.at(index); }
  void clearErrors() noexcept override { errors_.clear(); }
  const char* const* getUsedVCPluginLibraries(int64_t& count) const noexcept override {
    count = 0;
    return nullptr;
  }
  void setFlags(nvonnxparser::OnnxParserFlags flags) noexcept override { flags_ = flags; }
  nvonnxparser::OnnxParserFlags getFlags() const noexcept override { return flags_; }
  void clearFlag(nvonnxparser::OnnxParserFlag flag) noexcept override { flags_ &= ~bit(flag); }
  void setFlag(nvonnxparser::OnnxParserFlag flag) noexcept override { flags_ |= bit(flag); }
  bool getFlag(nvonnxparser::OnnxParserFlag flag) const noexcept override {
    return (flags_ & bit(flag)) != 0;
  }
  const nvinfer1::ITensor* getLayerOutputTensor(const char*, int64_t) noexcept override { return nullptr; }
  bool supportsModelV2(const void* data, size_t bytes, const char*) noexcept override {
    infer::Model model;
    return errors_.read(data, bytes, model);
  }
  int64_t getNbSubgraphs() noexcept override { return 0; }
  bool isSubgraphSupported(const int64_t) noexcept override { return false; }
  int64_t* getSubgraphNodes(const int64_t, int64_t& length) noexcept override {
    length = 0;
    return nullptr;
  }
#if NV_TENSORRT_MAJOR == 10
  bool supportsModel(const void* data, size_t bytes, SubGraphCollection_t&, const char* path) noexcept override {
    return supportsModelV2(data, bytes, path);
  }
  bool parseWithWeightDescriptors(const void* data, size_t bytes) noexcept override {
    return parse(data, bytes, nullptr);
  }
#endif
  // Models in pieces: the double takes them whole.
  bool loadModelProto(const void*, size_t, const char*) noexcept override { return false; }
  bool loadInitializer(const char*, const void*, size_t) noexcept override { return false; }
  bool parseModelProto() noexcept override { return false; }
  bool setBuilderConfig(const nvinfer1::IBuilderConfig* const) noexcept override { return true; }
#if NV_TENSORRT_VERSION >= 110400
  void setRefitObserver(nvonnxparser::IRefitterObserver*) noexcept override {}
#endif

 private:
  static uint32_t bit(nvonnxparser::OnnxParserFlag flag) { return 1U << static_cast<uint32_t>(flag); }

  infer::Network& network_;
  Errors errors_;
  nvonnxparser::OnnxParserFlags flags_ = 0;
  infer::Alive alive_{"parser"};
};

class ParserRefitter final : public nvonnxparser::IParserRefitter {
 public:
  ParserRefitter(nvinfer1::IRefitter& refitter, nvinfer1::ILogger* logger)
      : refitter_(refitter), errors_(logger) {}

  bool refitFromBytes(const void* data, size_t bytes, const char*) noexcept override {
    if (errors_.refuses("refitFromBytes") || !errors_.read(data, bytes, model_)) return false;
    for (const auto& tensor : model_.tensors) {
      if (!tensor.constant) continue;
      const nvinfer1::Weights weights{tensor.type, tensor.values.data(), infer::elements(tensor.dims)};
      if (refitter_.setNamedWeights(tensor.name.c_str(), weights)) continue;
      errors_.add({ErrorCode::kREFIT_FAILED, "the engine takes no weights " + tensor.name});
      return false;
    }
    return true;
  }
  bool refitFromFile(const char* path) noexcept override {
    const auto bytes = read_file(path);
    return refitFromBytes(bytes.data(), bytes.size(), path);
  }
  int32_t getNbErrors() const noexcept override { return errors_.count(); }
  const nvonnxparser::IParserError* getError(int32_t index) const noexcept override {
    return errors_.at(index);
  }
  void clearErrors() override { errors_.clear(); }
  bool loadModelProto(const void*, size_t, const char*) noexcept override { return false; }
  bool loadInitializer(const char*, const void*, size_t) noexcept override { return false; }
  bool refitModelProto() noexcept override { return false; }
#if NV_TENSORRT_VERSION >= 110400
  void setRefitObserver(nvonnxparser::IRefitterObserver*) noexcept override {}
#endif

 private:
  nvinfer1::IRefitter& refitter_;
  Errors errors_;
  infer::Model model_;  // the refitter reads its values when it refits
  infer::Alive alive_{"parser_refitter"};
};

}  // namespace
}  // namespace parser

void* createNvOnnxParser_INTERNAL(void* network, void* logger, int) noexcept {
  if (const int code = control::enter("createNvOnnxParser")) return infer::refused_object<void>(code);
  if (network == nullptr || logger == nullptr) return nullptr;
  auto* const own = static_cast<infer::Network*>(static_cast<nvinfer1::INetworkDefinition*>(network));
  return static_cast<nvonnxparser::IParser*>(
      new parser::Parser(*own, static_cast<nvinfer1::ILogger*>(logger)));
}

void* createNvOnnxParserRefitter_INTERNAL(void* refitter, void* logger, int32_t) noexcept {
  if (const int code = control::enter("createNvOnnxParserRefitter")) return infer::refused_object<void>(code);
  if (refitter == nullptr || logger == nullptr) return nullptr;
  auto* const own = static_cast<nvinfer1::IRefitter*>(refitter);
  return static_cast<nvonnxparser::IParserRefitter*>(
      new parser::ParserRefitter(*own, static_cast<nvinfer1::ILogger*>(logger)));
}

int getNvOnnxParserVersion() noexcept { return NV_ONNX_PARSER_VERSION; }
