// The types of voxels that files hold, and how they become float32 or int16.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace fastnnunet::storage {

enum class Element { boolean, int8, uint8, int16, uint16, int32, uint32, int64, uint64, float16, float32, float64 };

std::size_t size_of(Element element);

// From NumPy's notation, as "<f4" or "|b1". Absent for what cannot be read here: other types, and bytes in the other
// order.
std::optional<Element> element_of(std::string_view dtype);

// `count` voxels, `step` bytes apart in `from` and unaligned, to a row of T.
template <typename T>
using ConvertRow = void (*)(const std::byte* from, std::ptrdiff_t step, T* to, std::int64_t count);

// As NumPy's astype. What it leaves to the processor is fixed here to what x86-64 does: a floating value becomes int16
// through int32, of which NaN and what int32 does not hold become 0.
template <typename T>
ConvertRow<T> convert_row(Element from);

}  // namespace fastnnunet::storage
