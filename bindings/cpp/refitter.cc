#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "call.h"
#include "convert.h"
#include "library.h"
#include "parser_errors.h"

namespace forebay::FOREBAY_FLAVOUR {
namespace {

// TensorRT's refitter keeps the addresses of weights that it is given. So each change has one of its own, which
// goes on every exit, before the weights do.
class TheRefitter final : public Refitter {
 public:
  TheRefitter(const Entry& entry, nvinfer1::ICudaEngine& engine) : entry_(entry), engine_(engine) {
    const Call call("refit the engine");
    // That it can be refitted is told now.
    make(call);
  }

  rust::Vec<rust::String> weights() const override {
    Call call("tell the names of the weights");
    const auto refitter = make(call);
    const std::int32_t count = refitter->getAllWeights(0, nullptr);
    call.check(count >= 0);
    std::vector<const char*> names(static_cast<std::size_t>(count));
    call.check(refitter->getAllWeights(count, names.data()) == count);
    rust::Vec<rust::String> copied;
    for (const char* name : names) {
      copied.push_back(to_rust(name));
    }
    return copied;
  }

  void refit(rust::Slice<const NamedBytes> weights) override {
    Call call("refit the engine", Hears::all_threads);
    const auto refitter = make(call);
    for (const NamedBytes& given : weights) {
      const std::string name(given.name);
      const nvinfer1::Weights wanted = refitter->getWeightsPrototype(name.c_str());
      if (wanted.count < 0) {
        call.say(("it has no weights of the name " + name).c_str());
        call.fail();
      }
      const auto count = static_cast<std::size_t>(wanted.count);
      check_size(call, name, given.bytes.size(), (count * bits_of(wanted.type) + 7) / 8);
      call.check(refitter->setNamedWeights(name.c_str(), {wanted.type, given.bytes.data(), wanted.count}));
    }
    call.check(refitter->refitCudaEngine());
  }

  void refit_from_onnx(rust::Slice<const std::uint8_t> model) override {
    Call call("refit the engine from the model", Hears::all_threads);
    if (entry_.create_parser_refitter == nullptr) {
      call.say("the ONNX parser's library refits no engines");
      call.fail();
    }
    const auto refitter = make(call);
    std::unique_ptr<nvonnxparser::IParserRefitter> parser(static_cast<nvonnxparser::IParserRefitter*>(
        call.object(entry_.create_parser_refitter(refitter.get(), &logger(), NV_ONNX_PARSER_VERSION))));
    if (!parser->refitFromBytes(model.data(), model.size())) {
      say_errors(call, *parser);
      call.fail();
    }
    call.check(refitter->refitCudaEngine());
  }

 private:
  std::unique_ptr<nvinfer1::IRefitter> make(const Call& call) const {
    if (entry_.create_refitter == nullptr) {
      throw std::runtime_error("can't refit the engine: this library runs engines and refits none");
    }
    return std::unique_ptr<nvinfer1::IRefitter>(static_cast<nvinfer1::IRefitter*>(
        call.object(entry_.create_refitter(&engine_, &logger(), NV_TENSORRT_VERSION))));
  }

  static void check_size(Call& call, const std::string& name, std::size_t given, std::size_t wanted) {
    if (given != wanted) {
      call.say((name + " takes " + std::to_string(wanted) + " bytes, not " + std::to_string(given)).c_str());
      call.fail();
    }
  }

  Entry entry_;
  nvinfer1::ICudaEngine& engine_;
};

}  // namespace

std::unique_ptr<Refitter> make_refitter(const Entry& entry, nvinfer1::ICudaEngine& engine) {
  return std::make_unique<TheRefitter>(entry, engine);
}

}  // namespace forebay::FOREBAY_FLAVOUR
