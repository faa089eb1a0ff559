// Reads protobuf's wire format, as far as ONNX files need it: a message is a row of fields, each a number or
// bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

namespace parser {

// The bytes are no ONNX model.
struct Malformed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Span {
  const std::byte* data = nullptr;
  size_t bytes = 0;

  std::string text() const { return {reinterpret_cast<const char*>(data), bytes}; }
};

struct Field {
  uint32_t number = 0;
  uint64_t value = 0;  // of a number
  Span span;           // of bytes
};

class Message {
 public:
  explicit Message(Span span) : rest_(span) {}

  // The next field; false at the end.
  bool next(Field& field) {
    if (rest_.bytes == 0) return false;
    const auto tag = varint();
    field = {static_cast<uint32_t>(tag >> 3U), 0, {}};
    switch (tag & 7U) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.span = take(8);
        break;
      case 2:
        field.span = take(varint());
        break;
      case 5:
        field.span = take(4);
        break;
      default:
        throw Malformed("it has a field of an unknown wire type");
    }
    return true;
  }

  // The numbers of a packed field, one after another; false at the end.
  bool next_packed(uint64_t& value) {
    if (rest_.bytes == 0) return false;
    value = varint();
    return true;
  }

 private:
  Span take(uint64_t bytes) {
    if (bytes > rest_.bytes) throw Malformed("it ends inside a field");
    const Span taken{rest_.data, static_cast<size_t>(bytes)};
    rest_ = {rest_.data + taken.bytes, rest_.bytes - taken.bytes};
    return taken;
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint64_t>(*take(1).data);
      value |= (byte & 0x7FU) << shift;
      if (byte < 0x80U) return value;
    }
    throw Malformed("it has a number of more than 64 bits");
  }

  Span rest_;
};

}  // namespace parser
