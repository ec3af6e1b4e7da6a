/* A disk that fails: reads of .b2nd files as `faults_disk` says, see scene.py. Loaded before the C library. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

volatile int faults_disk = 0;

static int concerns(int file) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t length = readlink(link, path, sizeof path);
  return length > 5 && memcmp(path + length - 5, ".b2nd", 5) == 0;
}

#define READ(name, offset_type)                                               \
  ssize_t name(int file, void *to, size_t count, offset_type offset) {        \
    static ssize_t (*real)(int, void *, size_t, offset_type);                 \
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, #name);              \
    if (faults_disk != 0 && concerns(file)) {                                 \
      if (faults_disk == 1) return errno = EIO, -1;                           \
      while (faults_disk == 2) usleep(10000);                                 \
    }                                                                         \
    return real(file, to, count, offset);                                     \
  }

READ(pread, off_t)
READ(pread64, off64_t)
