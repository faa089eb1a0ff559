#include "voice.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "control.h"

namespace infer {

using nvinfer1::ErrorCode;

namespace {

// The code of a rule that has a call fail with words that a thread of TensorRT's own says.
constexpr int SAID_BY_ANOTHER_THREAD = 600;

const char* kind_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kINVALID_ARGUMENT:
    case ErrorCode::kINVALID_STATE:
      return "API Usage Error";
    case ErrorCode::kINVALID_CONFIG:
      return "Invalid Config";
    case ErrorCode::kFAILED_ALLOCATION:
      return "OutOfMemory";
    case ErrorCode::kFAILED_INITIALIZATION:
      return "Initialization Error";
    case ErrorCode::kFAILED_EXECUTION:
    case ErrorCode::kFAILED_COMPUTATION:
      return "Cuda Runtime";
    default:
      return "Internal Error";
  }
}

}  // namespace

void Voice::error(const char* where, ErrorCode code, const std::string& text) const {
  const auto line = std::string(where) + ": Error Code " + std::to_string(static_cast<int>(code)) + ": " +
                    kind_of(code) + " (" + text + ")";
  if (recorder != nullptr) recorder->reportError(code, line.c_str());
  if (logger != nullptr) logger->log(nvinfer1::ILogger::Severity::kERROR, line.c_str());
}

bool Voice::refuses(const char* where) const {
  const auto* const call = std::strrchr(where, ':');
  const auto code = control::enter(call == nullptr ? where : call + 1);
  if (code == 0) return false;
  if (code == SAID_BY_ANOTHER_THREAD) {
    std::thread([&] {
      error(where, ErrorCode::kINTERNAL_ERROR, "a rule of the test, on another thread");
    }).join();
    return true;
  }
  const bool known = code <= static_cast<int>(ErrorCode::kUNSUPPORTED_STATE);
  error(where, known ? static_cast<ErrorCode>(code) : ErrorCode::kUNSPECIFIED_ERROR, "a rule of the test");
  return true;
}

void forbidden(const char* text) {
  std::fprintf(stderr, "forebay double: %s\n", text);
  std::abort();
}

Alive::Alive(const char* kind) : kind_(kind) { control::alive(kind_, 1); }
Alive::~Alive() { control::alive(kind_, -1); }

Inside::Inside(bool& busy) : busy_(busy) {
  if (__atomic_exchange_n(&busy_, true, __ATOMIC_ACQUIRE)) forbidden("two threads use one object at once");
}
Inside::~Inside() { __atomic_store_n(&busy_, false, __ATOMIC_RELEASE); }

}  // namespace infer
