// FASTNNUNET_SANITIZED, where a sanitizer brings an allocator, a layout of memory and stacks of its own.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FASTNNUNET_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FASTNNUNET_SANITIZED
#endif
#endif
