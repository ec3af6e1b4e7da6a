// A transform of another language.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "fastnnunet/transforms/transform.h"

namespace fastnnunet::testing {

struct Nothing : transforms::Parameters {};

// Stands for a transform of another language: what it does to a sample is told by nobody.
class Foreign final : public transforms::TransformOf<Nothing> {
 public:
  using Body = std::function<void(sample::Sample&)>;
  Foreign(std::string name, Body body) : name_(std::move(name)), body_(std::move(body)) {}
  std::string_view name() const override { return name_; }
  transforms::Traits traits() const override { return {.native = false}; }

 protected:
  void draw(random::Stream&, const Geometry&, Nothing&) const override {}
  void apply(sample::Sample& sample, const Nothing&, const transforms::Work&) const override { body_(sample); }
  Record describe(const Nothing&) const override { return Record{name_}; }
  void restore(const Record&, const Geometry&, Nothing&) const override {}

 private:
  std::string name_;
  Body body_;
};

}  // namespace fastnnunet::testing
