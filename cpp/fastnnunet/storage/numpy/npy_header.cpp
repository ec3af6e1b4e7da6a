#include "fastnnunet/storage/numpy/npy_header.h"

#include <cstring>
#include <limits>
#include <optional>

#include "fastnnunet/base/error.h"
#include "fastnnunet/storage/stored_volume.h"

namespace fastnnunet::storage {

namespace {

// Reads the one form of dict that NumPy writes: the keys descr, fortran_order and shape, each once, in any order. What
// else a dict could hold, lists of fields above all, is refused.
class DictReader {
 public:
  DictReader(const std::string& file, std::string_view text) : file_(file), text_(text) {}

  NpyHeader read() {
    NpyHeader header;
    std::optional<std::string> dtype;
    std::optional<bool> fortran_order;
    std::optional<std::vector<std::int64_t>> axes;
    expect('{');
    while (!taken('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr" && !dtype) {
        if (peek() != '\'' && peek() != '"') refuse("a plain dtype, not one with fields");
        dtype = string();
      } else if (key == "fortran_order" && !fortran_order) {
        fortran_order = boolean();
      } else if (key == "shape" && !axes) {
        axes = tuple();
      } else {
        refuse("the keys descr, fortran_order and shape once each");
      }
      if (!taken(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (at_ != text_.size()) refuse("nothing after the dict");
    if (!dtype || !fortran_order || !axes) refuse("the keys descr, fortran_order and shape once each");
    const std::optional<Element> element = element_of(*dtype);
    if (!element) throw StorageError(file_, unreadable_type(*dtype));
    header.element = *element;
    header.fortran_order = *fortran_order;
    header.axes = *axes;
    return header;
  }

 private:
  [[noreturn]] void refuse(const std::string& expected) const {
    std::string got;
    for (const char character : text_.substr(0, 120)) got += character >= ' ' && character <= '~' ? character : ' ';
    throw StorageError(file_, "damaged .npy header: expected " + expected + ", got '" + got + "'");
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }

  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool taken(char character) {
    if (peek() != character || at_ >= text_.size()) return false;
    ++at_;
    return true;
  }

  void expect(char character) {
    if (!taken(character)) refuse(std::string("'") + character + "' at character " + std::to_string(at_));
  }

  std::string string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') refuse("a string at character " + std::to_string(at_));
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) refuse("a string that ends");
    const std::string_view content = text_.substr(at_ + 1, end - at_ - 1);
    for (const char character : content) {
      if (character < ' ' || character > '~' || character == '\\') refuse("a string of plain characters");
    }
    at_ = end + 1;
    return std::string(content);
  }

  bool boolean() {
    skip_space();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return value;
      }
    }
    refuse("True or False for fortran_order");
  }

  std::int64_t integer() {
    skip_space();
    const std::size_t begin = at_;
    std::int64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      const int digit = text_[at_] - '0';
      if (value > (std::numeric_limits<std::int64_t>::max() - digit) / 10) refuse("axes that 63 bits can count");
      value = value * 10 + digit;
    }
    if (at_ == begin) refuse("whole numbers in shape");
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // as Python 2 wrote them
    return value;
  }

  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> values;
    expect('(');
    while (!taken(')')) {
      if (values.size() == 64) refuse("at most 64 axes");
      values.push_back(integer());
      if (!taken(',')) {
        expect(')');
        break;
      }
    }
    return values;
  }

  const std::string& file_;
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

NpyText npy_text(const std::string& file, const std::byte* bytes, std::size_t count) {
  static constexpr unsigned char kMagic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
  if (count < sizeof(kMagic) || std::memcmp(bytes, kMagic, sizeof(kMagic)) != 0) {
    throw StorageError(file, "is not an .npy file: it does not begin with NumPy's magic bytes");
  }
  if (count < kNpyPreamble) throw StorageError(file, "file is truncated within the .npy header");
  const auto byte = [bytes](std::size_t at) { return static_cast<std::size_t>(bytes[at]); };
  const std::size_t version = byte(6);
  if (version < 1 || version > 3) {
    throw StorageError(file, "expected .npy format version 1, 2 or 3, got " + std::to_string(version));
  }
  NpyText text;
  text.begin = version == 1 ? 10 : 12;
  std::size_t length = byte(8) | byte(9) << 8;
  if (version > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (length > kNpyLongestHeader) {
    throw StorageError(file, "damaged .npy header: expected at most " + std::to_string(kNpyLongestHeader) +
                                 " characters, got " + std::to_string(length));
  }
  text.end = text.begin + length;
  return text;
}

NpyHeader parse_npy_header(const std::string& file, std::string_view text) { return DictReader(file, text).read(); }

}  // namespace fastnnunet::storage
