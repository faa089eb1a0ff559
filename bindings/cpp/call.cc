#include "call.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "forebay-bindings/src/bridge.rs.h"

namespace forebay::FOREBAY_FLAVOUR {
namespace {

// What is kept of a call's errors; a hostile model can make TensorRT say a lot.
constexpr std::size_t kept_bytes = 8192;

thread_local Call* innermost = nullptr;

// Around what calls heard, and what follows.
std::mutex lock;
// Calls that hear all threads, and the one among them that is alone.
std::size_t hearing = 0;
Call* alone = nullptr;

// Called by TensorRT from any thread.
class Logger final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* text) noexcept override {
    if (text == nullptr) {
      return;
    }
    if (severity <= Severity::kERROR) {
      innermost == nullptr ? Call::hear(text) : innermost->say(text);
    }
    // As bytes: TensorRT repeats what models hold, which needn't be UTF-8.
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(text);
    heard(static_cast<std::int32_t>(severity), {bytes, std::strlen(text)});
  }
};

}  // namespace

Call::Call(const char* doing, Hears hears) noexcept : doing_(doing), hears_(hears), outer_(innermost) {
  innermost = this;
  if (hears_ == Hears::all_threads) {
    const std::lock_guard guard(lock);
    alone = hearing++ == 0 ? this : nullptr;
  }
}

Call::~Call() {
  innermost = outer_;
  if (hears_ == Hears::all_threads) {
    const std::lock_guard guard(lock);
    --hearing;
    alone = alone == this ? nullptr : alone;
  }
}

void Call::check_silent() const {
  const bool silent = [this] {
    const std::lock_guard guard(lock);
    return said_.empty();
  }();
  check(silent);
}

void Call::fail() const {
  const std::lock_guard guard(lock);
  std::string message = std::string("can't ") + doing_ + ": ";
  for (const std::string& error : said_) {
    message += (&error == said_.data() ? "" : "; ") + error;
  }
  throw std::runtime_error(said_.empty() ? message + "it doesn't say why" : message);
}

void Call::forget(const char* beginning) {
  const auto begins = [beginning](const std::string& error) { return error.rfind(beginning, 0) == 0; };
  const std::lock_guard guard(lock);
  said_.erase(std::remove_if(said_.begin(), said_.end(), begins), said_.end());
}

void Call::say(const char* text) noexcept {
  const std::lock_guard guard(lock);
  keep(text);
}

void Call::keep(const char* text) noexcept {
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

void Call::hear(const char* text) noexcept {
  const std::lock_guard guard(lock);
  if (alone != nullptr) {
    alone->keep(text);
  }
}

nvinfer1::ILogger& logger() noexcept {
  static auto* const instance = new Logger;
  return *instance;
}

}  // namespace forebay::FOREBAY_FLAVOUR
