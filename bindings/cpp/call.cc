#include "call.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

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
  std::string message = std::string("can't ") + doing_ + ": ";
  for (const std::string& error : said_) {
    message += (&error == said_.data() ? "" : "; ") + error;
  }
  throw std::runtime_error(said_.empty() ? message + "it doesn't say why" : message);
}

void Call::forget(const char* beginning) {
  const auto begins = [beginning](const std::string& error) { return error.rfind(beginning, 0) == 0; };
  said_.erase(std::remove_if(said_.begin(), said_.end(), begins), said_.end());
}

void Call::say(const char* text) noexcept {
  try {
    std::string error(text, strnlen(text, kept_bytes));
    // A message is one line.
    std::replace(error.begin(), error.end(), '\n', ' ');
    if (said_bytes_ < kept_bytes && std::find(said_.begin(), said_.end(), error) == said_.end()) {
      said_bytes_ += error.size();
      said_.push_back(std::move(error));
    }
  } catch (...) {
    // Out of memory: the call still fails, with fewer words.
  }
}

nvinfer1::ILogger& logger() noexcept {
  static auto* const instance = new Logger;
  return *instance;
}

}  // namespace forebay::FOREBAY_FLAVOUR
