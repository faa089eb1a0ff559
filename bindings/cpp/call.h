// A call into TensorRT: its log enters, the errors of this call and no other leave.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "NvInfer.h"

namespace forebay::FOREBAY_FLAVOUR {

// Collects what TensorRT says on this thread while it lives. Calls nest.
class Call {
 public:
  // `doing` completes "TensorRT can't ...".
  explicit Call(const char* doing) noexcept;
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Throws what was heard.
  [[noreturn]] void fail() const;
  // Throws what was heard unless the call worked.
  void check(bool worked) const {
    if (!worked) {
      fail();
    }
  }
  // Throws what was heard, if anything: for calls that return nothing that tells.
  void check_silent() const { check(said_.empty()); }
  // The object that a function returned. On failure a create function may return a small number instead of
  // null.
  template <typename T>
  T* object(T* created) const {
    constexpr std::uintptr_t lowest = 65536;
    check(reinterpret_cast<std::uintptr_t>(created) >= lowest);
    return created;
  }
  // Forgets errors that begin so.
  void forget(const char* beginning);
  // Adds an error.
  void say(const char* text) noexcept;

 private:
  const char* doing_;
  Call* outer_;
  std::vector<std::string> said_;
  std::size_t said_bytes_ = 0;
};

// The one logger of this flavour. Lives for ever, since TensorRT keeps the first that it is given.
nvinfer1::ILogger& logger() noexcept;

}  // namespace forebay::FOREBAY_FLAVOUR
