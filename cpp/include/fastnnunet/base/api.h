// What a shared library of the core exports. Everything else in it is hidden.
#pragma once

#if defined(__GNUC__) && !defined(_WIN32)
#define FASTNNUNET_API __attribute__((visibility("default")))
#elif defined(_WIN32) && defined(FASTNNUNET_EXPORTS)  // the library itself is compiled
#define FASTNNUNET_API __declspec(dllexport)
#elif defined(_WIN32) && defined(FASTNNUNET_SHARED)  // a program that uses it
#define FASTNNUNET_API __declspec(dllimport)
#else
#define FASTNNUNET_API
#endif
