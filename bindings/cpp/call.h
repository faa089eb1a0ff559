// A call into TensorRT: its log enters, the errors of this call and no other leave.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "NvInfer.h"

namespace forebay::FOREBAY_FLAVOUR {

// Whose words a call hears: those of its thread, or also those of threads that TensorRT starts for it. Only
// one call at a time can tell that these are for it.
enum class Hears { its_thread, all_threads };

// Collects what TensorRT says on this thread while it lives. Calls nest.
class Call {
 public:
  // `doing` completes "TensorRT can't ...".
  explicit Call(const char* doing, Hears hears = Hears::its_thread) noexcept;
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
  void check_silent() const;
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
  // Adds an error of a thread that TensorRT started, to the call that it must be for.
  static void hear(const char* text) noexcept;

 private:
  void keep(const char* text) noexcept;

  const char* doing_;
  Hears hears_;
  Call* outer_;
  std::vector<std::string> said_;
  std::size_t said_bytes_ = 0;
};

// The one logger of this flavour. Lives for ever, since TensorRT keeps the first that it is given.
nvinfer1::ILogger& logger() noexcept;

}  // namespace forebay::FOREBAY_FLAVOUR
