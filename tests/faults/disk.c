/* A disk that fails: reads of .b2nd files, also of their mappings, as `faults_disk` says, see scene.py.
   Loaded before the C library. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
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

#define POPULATE 22 /* MADV_POPULATE_READ, which C libraries may not know */

static int maps(void *address) {
  char line[4096];
  int found = 0;
  FILE *all = fopen("/proc/self/maps", "r");
  while (all != NULL && !found && fgets(line, sizeof line, all) != NULL) {
    unsigned long begin, end;
    if (sscanf(line, "%lx-%lx", &begin, &end) == 2 && begin <= (unsigned long)address && (unsigned long)address < end)
      found = strstr(line, ".b2nd") != NULL ? 1 : -1;
  }
  if (all != NULL) fclose(all);
  return found == 1;
}

int madvise(void *address, size_t length, int advice) {
  static int (*real)(void *, size_t, int);
  if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "madvise");
  if (advice == POPULATE && faults_disk != 0 && maps(address)) {
    if (faults_disk == 1) return errno = EFAULT, -1; /* as the kernel says where a disk failed */
    while (faults_disk == 2) usleep(10000);
  }
  return real(address, length, advice);
}
