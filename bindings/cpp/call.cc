#include "call.h"

#include <cstring>
#include <stdexcept>

#include "forebay-bindings/src/bridge.rs.h"

namespace forebay::FOREBAY_FLAVOUR {
namespace {

// What is kept of a call's errors; a hostile model can make TensorRT say a lot.
constexpr std::size_t kept_bytes = 8192;

thread_local Call* innermost = nullptr;

// Called by TensorRT from any thread.
class Logger final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* text) noexcept override {
    if (text == nullptr) {
      return;
    }
    if (innermost != nullptr && severity <= Severity::kERROR) {
      innermost->say(text);
    }
    // As bytes: TensorRT repeats what models hold, which needn't be UTF-8.
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(text);
    heard(static_cast<std::int32_t>(severity), {bytes, std::strlen(text)});
  }
};

}  // namespace

Call::Call(const char* doing) noexcept : doing_(doing), outer_(innermost) { innermost = this; }

Call::~Call() { innermost = outer_; }

void Call::fail() const {
  const std::string said = said_.empty() ? "it doesn't say why" : said_;
  throw std::runtime_error(std::string("can't ") + doing_ + ": " + said);
}

void Call::say(const char* text) noexcept {
  try {
    if (said_.size() >= kept_bytes) {
      return;
    }
    if (!said_.empty()) {
      said_ += "; ";
    }
    said_.append(text, strnlen(text, kept_bytes));
  } catch (...) {
    // Out of memory: the call still fails, with fewer words.
  }
}

nvinfer1::ILogger& logger() noexcept {
  static auto* const instance = new Logger;
  return *instance;
}

}  // namespace forebay::FOREBAY_FLAVOUR
