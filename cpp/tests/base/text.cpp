#include "fastnnunet/base/text.h"

#include "catch.h"

namespace fastnnunet::base {
namespace {

TEST_CASE("text: UTF-8 stays, and of anything else the bytes beyond ASCII become question marks", "[base]") {
  for (const char* good : {"", "plain", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"})
    CHECK(printable(good) == good);
  const std::pair<const char*, const char*> bad[] = {
      {"a\xC3", "a?"},     // cut off
      {"\x80z", "?z"},     // not the beginning of a character
      {"\xC0\xAF", "??"},  // longer than needed
      {"\xE0\x80\x80", "???"},
      {"\xF0\x80\x80\x80", "????"},
      {"\xED\xA0\x80", "???"},       // half of a surrogate pair
      {"\xF4\x90\x80\x80", "????"},  // beyond the last character
      {"\xFF", "?"},
      {"\xC3\xA4\xFF", "???"},
  };
  for (const auto& [given, expected] : bad) CHECK(printable(given) == expected);
}

TEST_CASE("text: a shape", "[base]") { CHECK(text({1, -20, 300}) == "(1, -20, 300)"); }

}  // namespace
}  // namespace fastnnunet::base
