// Before each source for macOS.

// Zig's math.h takes a part of libc++'s float.h, which then does not give the rest.
#include <math.h>
#undef _LIBCPP_FLOAT_H
#include <float.h>

// Zig's linker exports whatever is visible and knows no list of exports. The core is a part of the extensions, so
// nothing of it is.
#if __has_include("fastnnunet/base/api.h")
#include "fastnnunet/base/api.h"
#undef FASTNNUNET_API
#define FASTNNUNET_API
#endif
