// A small dictionary: how a transform is configured, and with which parameters it was applied once. It is the form in
// which both pass between Python and the core; inside, every transform has its own struct.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fastnnunet/base/api.h"
#include "fastnnunet/transforms/scalar.h"

namespace fastnnunet {

// Many numbers at once, such as a field with a value for every voxel; C-contiguous.
struct FloatArray {
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};

class FASTNNUNET_API Record {
 public:
  using Numbers = std::vector<double>;
  using Rows = std::vector<Numbers>;
  using Value =
      std::variant<std::monostate, bool, double, std::string, Numbers, Rows, Scalar, std::shared_ptr<const FloatArray>>;

  Record() = default;
  explicit Record(std::string owner) : owner_(std::move(owner)) {}

  void set(std::string name, Value value) { values_[std::move(name)] = std::move(value); }
  const std::map<std::string, Value>& values() const { return values_; }
  const std::string& owner() const { return owner_; }

  // Each throws InvalidArgument where the entry is missing and InvalidType where it is of another kind, naming the
  // owner and the entry.
  bool has(std::string_view name) const;  // there and not None
  bool boolean(std::string_view name) const;
  double number(std::string_view name) const;
  std::int64_t integer(std::string_view name) const;
  const std::string& text(std::string_view name) const;
  // A label that a segmentation, which is int16, can have.
  std::int16_t label(std::string_view name) const;
  const Numbers& numbers(std::string_view name) const;
  std::vector<std::int16_t> labels(std::string_view name) const;
  std::vector<std::int64_t> integers(std::string_view name) const;
  const Rows& rows(std::string_view name) const;
  const std::shared_ptr<const FloatArray>& floats(std::string_view name) const;
  const Scalar& scalar(std::string_view name) const;
  // In [0, 1].
  double probability(std::string_view name) const;

 private:
  const Value& at(std::string_view name) const;
  [[noreturn]] void wrong_type(std::string_view name, const char* expected) const;

  std::string owner_;  // the transform, for messages
  std::map<std::string, Value> values_;
};

}  // namespace fastnnunet
