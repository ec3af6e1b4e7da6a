#include "fastnnunet/random/philox.h"

#include "catch.h"

namespace fastnnunet::random {

TEST_CASE("Philox4x32-10 and -7 give the known answers of their authors", "[random]") {
  // Random123's kat_vectors, philox4x32 10 and 7.
  CHECK(Philox::block({0, 0, 0, 0}, {0, 0}) == Philox::Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(Philox::block({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
        Philox::Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(Philox::block({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Philox::Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  CHECK(Philox::block({0, 0, 0, 0}, {0, 0}, 7) == Philox::Counter{0x5f6fb709, 0x0d893f64, 0x4f121f81, 0x4f730a48});
  CHECK(Philox::block({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}, 7) ==
        Philox::Counter{0x5207ddc2, 0x45165e59, 0x4d8ee751, 0x8c52f662});
  CHECK(Philox::block({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}, 7) ==
        Philox::Counter{0x4dfccaba, 0x190a87f0, 0xc47362ba, 0xb6b5242a});
}

}  // namespace fastnnunet::random
