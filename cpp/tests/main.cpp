#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
int main(int argc, char* argv[]) { return Catch::Session().run(argc, argv); }
#else
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif

#include <cstdlib>

namespace {

// c-blosc2 compresses the offsets of every chunk that a test writes with threads of its own, and starting those takes
// longer than all the rest, under a sanitizer above all.
[[maybe_unused]] const bool one_thread = [] {
#ifdef _WIN32
  return _putenv_s("BLOSC_NTHREADS", "1") == 0;
#else
  return setenv("BLOSC_NTHREADS", "1", 1) == 0;
#endif
}();

}  // namespace
