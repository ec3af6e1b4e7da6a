/* A disk, or a file server, that fails, as `faults_disk` and the variables beside it say, see scene.py. What is opened,
   asked for and read of .b2nd, .pkl and .nii.gz files is concerned. And locks that hang or lie. Loaded before
   the C library. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

volatile int faults_disk = 0; /* 1: errors, 2: no answer, 3: reads that end early, or are interrupted */
volatile int faults_errno = EIO;
volatile int faults_calls = 1; /* 1: reads, 2: stat, 4: open */
volatile int faults_left = -1; /* so many calls fail; -1: all */
volatile int faults_locks = 0; /* 1: flock and fcntl hang, 2: everybody is given every lock */
volatile int faults_stats = 0; /* calls so far, of files that are concerned */
volatile int faults_opens = 0;
volatile int faults_short = 0; /* reads so far that could end early */

enum { READ = 1, STAT = 2, OPEN = 4 };

static int named(const char* path) {
  const size_t length = path == NULL ? 0 : strlen(path);
  return (length > 5 && memcmp(path + length - 5, ".b2nd", 5) == 0) ||
         (length > 4 && memcmp(path + length - 4, ".pkl", 4) == 0) ||
         (length > 7 && memcmp(path + length - 7, ".nii.gz", 7) == 0);
}

static int concerns(int file) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = '\0';
  return named(path);
}

/* Whether this call, of a file that is concerned, fails. */
static int fails(int call) {
  if (faults_disk == 0 || faults_disk == 3 || (faults_calls & call) == 0) return 0;
  while (faults_disk == 2) usleep(10000);
  if (faults_disk == 0) return 0;
  for (int left = faults_left; left != 0; left = faults_left)
    if (left < 0 || __sync_bool_compare_and_swap(&faults_left, left, left - 1)) return 1;
  return 0;
}

#define REAL(name, ...)            \
  static int (*real)(__VA_ARGS__); \
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, #name)

#define PREAD(name, offset_type)                                                            \
  ssize_t name(int file, void* to, size_t count, offset_type offset) {                      \
    static ssize_t (*real)(int, void*, size_t, offset_type);                                \
    if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, #name);                             \
    if (faults_disk != 0 && concerns(file) && fails(READ)) return errno = faults_errno, -1; \
    if (faults_disk == 3 && concerns(file)) {                                               \
      if (__sync_fetch_and_add(&faults_short, 1) % 3 == 0) return errno = EINTR, -1;        \
      if (count > 1) count = count / 2 + 1;                                                 \
    }                                                                                       \
    return real(file, to, count, offset);                                                   \
  }

PREAD(pread, off_t)
PREAD(pread64, off64_t)

ssize_t read(int file, void* to, size_t count) {
  static ssize_t (*real)(int, void*, size_t);
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, "read");
  if (faults_disk != 0 && concerns(file) && fails(READ)) return errno = faults_errno, -1;
  return real(file, to, count);
}

#define STATS(name, type)                               \
  int name(const char* path, struct type* to) {         \
    REAL(name, const char*, struct type*);              \
    if (named(path)) {                                  \
      __sync_fetch_and_add(&faults_stats, 1);           \
      if (fails(STAT)) return errno = faults_errno, -1; \
    }                                                   \
    return real(path, to);                              \
  }

STATS(stat, stat)
STATS(stat64, stat64)

#define OPENS(name)                                                                      \
  int name(const char* path, int flags, ...) {                                           \
    REAL(name, const char*, int, ...);                                                   \
    va_list rest;                                                                        \
    va_start(rest, flags);                                                               \
    const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                                                        \
    if (named(path)) {                                                                   \
      __sync_fetch_and_add(&faults_opens, 1);                                            \
      if (fails(OPEN)) return errno = faults_errno, -1;                                  \
    }                                                                                    \
    return real(path, flags, mode);                                                      \
  }

OPENS(open)
OPENS(open64)

int flock(int file, int operation) {
  REAL(flock, int, int);
  while (faults_locks == 1) usleep(10000); /* a lock service that is not there, also where nobody should wait */
  if (faults_locks == 2) return 0;
  return real(file, operation);
}

#define FCNTL(name)                                  \
  int name(int file, int command, ...) {             \
    REAL(name, int, int, ...);                       \
    va_list rest;                                    \
    va_start(rest, command);                         \
    void* argument = va_arg(rest, void*);            \
    va_end(rest);                                    \
    if (command == F_SETLK || command == F_SETLKW) { \
      while (faults_locks == 1) usleep(10000);       \
      if (faults_locks == 2) return 0;               \
    }                                                \
    return real(file, command, argument);            \
  }

FCNTL(fcntl)
FCNTL(fcntl64)
