// Floats of 16 and 8 bits as elements: a number of 32 bits is rounded to the nearest one, ties to even.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace infer {

// FRACTION bits of fraction below EXPONENT bits of exponent and a sign. FP8 has no infinity: all but one
// pattern of its largest exponent are numbers, and what is larger than the largest becomes that one.
template <typename Bits, int EXPONENT, int FRACTION, bool INFINITE>
class SmallFloat {
 public:
  SmallFloat() = default;
  explicit SmallFloat(float value) : bits_(encode(value)) {}

  operator float() const {
    const int exponent = (bits_ >> FRACTION) & LARGEST;
    const auto fraction = static_cast<float>(bits_ & MASK);
    const float sign = (bits_ >> (EXPONENT + FRACTION)) != 0 ? -1.0F : 1.0F;
    if (is_special(exponent)) {
      const bool infinite = INFINITE && fraction == 0;
      return sign *
             (infinite ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN());
    }
    const float whole = exponent == 0 ? fraction : fraction + static_cast<float>(1 << FRACTION);
    return sign * std::ldexp(whole, std::max(exponent, 1) - BIAS - FRACTION);
  }

 private:
  static constexpr int LARGEST = (1 << EXPONENT) - 1;
  static constexpr int BIAS = LARGEST / 2;
  static constexpr int MASK = (1 << FRACTION) - 1;

  bool is_special(int exponent) const { return exponent == LARGEST && (INFINITE || (bits_ & MASK) == MASK); }

  static Bits encode(float value) {
    const int sign = std::signbit(value) ? 1 << (EXPONENT + FRACTION) : 0;
    if (std::isnan(value)) return static_cast<Bits>(sign | LARGEST << FRACTION | MASK);
    if (value == 0) return static_cast<Bits>(sign);
    int exponent = 0;
    std::frexp(value, &exponent);
    // That of the unit in the last place.
    const int unit = std::max(exponent - 1, 1 - BIAS) - FRACTION;
    const float steps = std::isinf(value) ? value : std::nearbyint(std::ldexp(std::fabs(value), -unit));
    // Steps past a power of two carry into the exponent by themselves.
    const float biased = static_cast<float>(unit + BIAS + FRACTION - 1) * (1 << FRACTION) + steps;
    const int largest = INFINITE ? LARGEST << FRACTION : (LARGEST << FRACTION | MASK) - 1;
    return static_cast<Bits>(
        sign |
        (std::isfinite(steps) && biased < static_cast<float>(largest) ? static_cast<int>(biased) : largest));
  }

  Bits bits_ = 0;
};

using Half = SmallFloat<uint16_t, 5, 10, true>;
using Bf16 = SmallFloat<uint16_t, 8, 7, true>;
using Fp8 = SmallFloat<uint8_t, 4, 3, false>;

}  // namespace infer
