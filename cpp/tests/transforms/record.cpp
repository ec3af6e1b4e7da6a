#include "fastnnunet/transforms/record.h"

#include "transforms/samples.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

TEST_CASE("record: an entry that is missing or of another kind is named with its owner", "[transforms]") {
  Record r{"GammaTransform"};
  r.set("p", 0.5);
  r.set("axes", Numbers{0, 1.5});
  r.set("none", std::monostate{});
  CHECK(r.number("p") == 0.5);
  CHECK(r.has("p"));
  CHECK_FALSE(r.has("none"));
  CHECK_FALSE(r.has("other"));
  const auto named = [&](const auto& action, const char* entry) {
    const std::string message = message_of(action);
    return has(message, "[GammaTransform]") && has(message, entry);
  };
  CHECK(named([&] { (void)r.number("other"); }, "'other'"));
  CHECK(named([&] { (void)r.text("p"); }, "'p'"));
  CHECK(named([&] { (void)r.integer("p"); }, "'p'"));
  CHECK(named([&] { (void)r.integers("axes"); }, "'axes'"));
  CHECK(named([&] { (void)r.scalar("p"); }, "'p'"));
  CHECK_THROWS_AS(r.text("p"), InvalidType);
  CHECK_THROWS_AS(r.number("other"), InvalidArgument);
  r.set("p", 1.5);
  CHECK(named([&] { (void)r.probability("p"); }, "between 0 and 1"));
}

TEST_CASE("scalar: numbers, ranges, nnU-Net's contrast, callables", "[transforms]") {
  random::Stream stream(SampleId{.seed = 4}, 1);
  const ScalarQuestion question{{1, 1, {4, 4, 4}}, 0, std::nullopt};
  CHECK(Scalar::constant(3).draw(stream, question) == 3);
  CHECK(Scalar::range(2, 2).draw(stream, question) == 2);
  int below = 0;
  for (int i = 0; i < 10000; ++i) {
    const double value = Scalar::contrast(0.5, 3).draw(stream, question);
    REQUIRE((value >= 0.5 && value < 3));
    below += value < 1;
  }
  CHECK(below == Catch::Approx(5000).margin(200));  // four standard deviations
  for (int i = 0; i < 100; ++i) REQUIRE(Scalar::contrast(1.5, 3).draw(stream, question) >= 1.5);
  CHECK_THROWS_AS(Scalar::range(2, 1), InvalidArgument);
  const auto callable =
      Scalar::callable([](const ScalarQuestion& q, std::uint64_t) { return double(q.geometry.shape[0]); });
  CHECK(callable.draw(stream, question) == 4);
  CHECK_FALSE(callable.upper_bound().has_value());
  CHECK(Scalar::range(1, 8).upper_bound() == 8.0);
}

TEST_CASE("registry: every native transform refuses attributes that are not its own, by name", "[transforms]") {
  for (const TransformEntry& entry : transform_table()) {
    CAPTURE(entry.name);
    if (entry.name == "Convert3DTo2DTransform" || entry.name == "Convert2DTo3DTransform") {
      CHECK(make_transform(entry.name, record({}))->name() == entry.name);
      continue;
    }
    CHECK(has(message_of([&] { make_transform(entry.name, record({}, "X")); }), "[X] expected an entry '"));
  }
  CHECK(has(message_of([&] { make_transform("NoSuchTransform", record({})); }), "NoSuchTransform"));
}

TEST_CASE("record: the last numbers that are good, and the first that are not", "[transforms]") {
  Record r{"Owner"};
  for (const double label : {-32768.0, -1.0, 0.0, 32767.0}) {
    r.set("label", label);
    CHECK(r.label("label") == label);
    r.set("labels", Numbers{0, label});
    CHECK(r.labels("labels")[1] == label);
  }
  for (const double wrong : {-32769.0, 32768.0, 0.5, std::nan("")}) {
    r.set("label", wrong);
    CHECK(has(message_of([&] { (void)r.label("label"); }), "whole numbers from -32768 to 32767"));
  }
  for (const double whole : {9007199254740991.0, -9007199254740991.0}) {
    r.set("number", whole);
    CHECK(static_cast<double>(r.integer("number")) == whole);
  }
  for (const double wrong : {9007199254740992.0, 1e300, double{-INFINITY}, 0.25, std::nan("")}) {
    r.set("number", wrong);
    CHECK(has(message_of([&] { (void)r.integer("number"); }), "'number' to be whole"));
    r.set("numbers", Numbers{1, wrong});
    CHECK(has(message_of([&] { (void)r.integers("numbers"); }), "'numbers' to be whole numbers"));
  }
  for (const double good : {0.0, 1.0}) {
    r.set("p", good);
    CHECK(r.probability("p") == good);
  }
  for (const double wrong : {-1e-9, 1.0000001, std::nan("")}) {
    r.set("p", wrong);
    CHECK(has(message_of([&] { (void)r.probability("p"); }), "'p' between 0 and 1"));
  }
  r.set("rows", Numbers{});
  CHECK(r.rows("rows").empty());
  r.set("rows", Numbers{1});
  CHECK(has(message_of([&] { (void)r.rows("rows"); }), "'rows' to be rows of numbers, got numbers"));
  CHECK_THROWS_AS(Scalar::range(std::nan(""), 1), InvalidArgument);
  CHECK_THROWS_AS(Scalar::range(0, std::nan("")), InvalidArgument);
  CHECK(Scalar::contrast(0.5, 2).upper_bound() == 2.0);
}

}  // namespace
}  // namespace fastnnunet::transforms
