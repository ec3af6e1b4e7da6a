#include "fastnnunet/transforms/record.h"

#include <cmath>
#include <limits>

#include "fastnnunet/base/error.h"

namespace fastnnunet {

namespace {

// Whether it is a whole number that every wider type holds.
bool is_whole(double value) { return std::abs(value) < 0x1p53 && value == std::floor(value); }

std::int16_t to_label(const std::string& owner, std::string_view name, double value) {
  using Limits = std::numeric_limits<std::int16_t>;
  if (!is_whole(value) || value < Limits::min() || value > Limits::max())
    throw InvalidArgument(owner, "'" + std::string(name) + "' of labels, whole numbers from -32768 to 32767",
                          std::to_string(value));
  return static_cast<std::int16_t>(value);
}

}  // namespace

const Record::Value& Record::at(std::string_view name) const {
  const auto found = values_.find(std::string(name));
  if (found == values_.end()) throw InvalidArgument(owner_, "an entry '" + std::string(name) + "'", "none");
  return found->second;
}

void Record::wrong_type(std::string_view name, const char* expected) const {
  static constexpr const char* kKinds[] = {"None",    "a bool",          "a number", "a string",
                                           "numbers", "rows of numbers", "a scalar", "an array"};
  throw InvalidType(owner_, "'" + std::string(name) + "' to be " + expected, kKinds[at(name).index()]);
}

bool Record::has(std::string_view name) const {
  const auto found = values_.find(std::string(name));
  return found != values_.end() && !std::holds_alternative<std::monostate>(found->second);
}

bool Record::boolean(std::string_view name) const {
  const Value& value = at(name);
  if (const bool* found = std::get_if<bool>(&value)) return *found;
  if (const double* found = std::get_if<double>(&value)) return *found != 0.0;
  wrong_type(name, "a bool");
}

double Record::number(std::string_view name) const {
  const Value& value = at(name);
  if (const double* found = std::get_if<double>(&value)) return *found;
  if (const bool* found = std::get_if<bool>(&value)) return *found ? 1.0 : 0.0;
  wrong_type(name, "a number");
}

std::int64_t Record::integer(std::string_view name) const {
  const double value = number(name);
  if (!is_whole(value)) throw InvalidArgument(owner_, "'" + std::string(name) + "' to be whole", std::to_string(value));
  return static_cast<std::int64_t>(value);
}

const std::string& Record::text(std::string_view name) const {
  if (const auto* found = std::get_if<std::string>(&at(name))) return *found;
  wrong_type(name, "a string");
}

const Record::Numbers& Record::numbers(std::string_view name) const {
  if (const auto* found = std::get_if<Numbers>(&at(name))) return *found;
  wrong_type(name, "numbers");
}

std::vector<std::int64_t> Record::integers(std::string_view name) const {
  std::vector<std::int64_t> whole;
  for (double value : numbers(name)) {
    if (!is_whole(value))
      throw InvalidArgument(owner_, "'" + std::string(name) + "' to be whole numbers", std::to_string(value));
    whole.push_back(static_cast<std::int64_t>(value));
  }
  return whole;
}

std::int16_t Record::label(std::string_view name) const { return to_label(owner_, name, number(name)); }

std::vector<std::int16_t> Record::labels(std::string_view name) const {
  std::vector<std::int16_t> found;
  for (const double value : numbers(name)) found.push_back(to_label(owner_, name, value));
  return found;
}

const Record::Rows& Record::rows(std::string_view name) const {
  static const Rows kNone;
  const Value& value = at(name);
  if (const auto* found = std::get_if<Rows>(&value)) return *found;
  // An empty list says nothing about what it would have held.
  if (const auto* found = std::get_if<Numbers>(&value); found != nullptr && found->empty()) return kNone;
  wrong_type(name, "rows of numbers");
}

const std::shared_ptr<const FloatArray>& Record::floats(std::string_view name) const {
  if (const auto* found = std::get_if<std::shared_ptr<const FloatArray>>(&at(name))) return *found;
  wrong_type(name, "an array of float32");
}

const Scalar& Record::scalar(std::string_view name) const {
  if (const auto* found = std::get_if<Scalar>(&at(name))) return *found;
  wrong_type(name, "a number, a pair or a callable");
}

double Record::probability(std::string_view name) const {
  const double value = number(name);
  if (!(value >= 0.0 && value <= 1.0))
    throw InvalidArgument(owner_, "'" + std::string(name) + "' between 0 and 1", std::to_string(value));
  return value;
}

}  // namespace fastnnunet
