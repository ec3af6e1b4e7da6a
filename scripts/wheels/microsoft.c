// What objects of Microsoft's compiler expect of its runtime library: the guard of their stack frames, and a mark of
// programs with floating-point numbers.
#include <stdint.h>

const int _fltused = 0x9875;
const uintptr_t __security_cookie = 0x2B992DDFA232;  // the value that Microsoft's library has before it draws one

void __security_check_cookie(uintptr_t cookie) {
  if (cookie != __security_cookie) __builtin_trap();
}
