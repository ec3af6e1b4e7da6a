/*
 * The interface of transforms that are built outside of this project: a table of C functions. It needs nothing else of
 * the project, and no library. plugin/transform.h derives it from a C++ class; examples/cpp_transform is a whole
 * package.
 *
 * What is promised (the ABI):
 *  - Everything here is plain C. A plug-in and fastnnunet-loader may be built with different compilers, standard
 *    libraries and versions of C++.
 *  - As long as FASTNNUNET_PLUGIN_VERSION is the same, structs get new members at their end only, and members keep
 *    their meaning. Each struct begins with its size, as the one who filled it in knew it: read a member that is newer
 *    than version 1 of this header only where the size covers it. A plug-in that was built against an older header of
 *    the same version works without being built again, and one that was built against a newer header works with an
 *    older fastnnunet-loader.
 *  - A plug-in with another FASTNNUNET_PLUGIN_VERSION is refused when a pipeline is compiled with it, before any of its
 *    functions is called.
 *
 * Ownership: the table, and what `self` refers to, belong to the plug-in, which frees them in the destructor of the
 * capsule (Python) or the deleter of the std::shared_ptr (C++) that holds the table. Until then they stay as they are.
 * Arguments of a call belong to the caller and are valid until the call returns.
 *
 * Threads: every function may be called from several threads at once with the same `self`. Python's lock (GIL) is not
 * held.
 *
 * Errors: a function returns 0, or another number after it has written a reason into `message`: UTF-8 text that ends
 * with a zero byte, at most `capacity` bytes with it. The sample then ends with an error that names the transform. No
 * C++ exception and no longjmp may leave a function.
 */
#ifndef FASTNNUNET_PLUGIN_ABI_H
#define FASTNNUNET_PLUGIN_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FASTNNUNET_PLUGIN_VERSION 1

/* Name of the PyCapsule that holds a `fastnnunet_plugin_transform*` (fastnnunet_loader.register_transform). */
#define FASTNNUNET_PLUGIN_CAPSULE "fastnnunet_loader.plugin.transform"

/* The form of a sample. */
typedef struct fastnnunet_plugin_geometry {
  size_t size; /* of this struct in bytes */
  int64_t image_channels;
  int64_t segmentation_channels; /* 0 where there is no segmentation */
  int64_t shape[3];              /* X, Y, Z; a 2D sample has X = 1 */
  int64_t dims;                  /* spatial axes that count, the last ones of `shape`: 2 or 3 */
} fastnnunet_plugin_geometry;

/* The voxels of a sample, to be changed in place. The shape stays. */
typedef struct fastnnunet_plugin_voxels {
  size_t size;           /* of this struct in bytes */
  float* image;          /* (C, X, Y, Z), C-contiguous */
  int16_t* segmentation; /* (C', X, Y, Z), C-contiguous; null where there is none, or where it is regions already */
} fastnnunet_plugin_voxels;

/* Random numbers that are a function of the sample: use no others, or batches depend on threads. */
typedef struct fastnnunet_plugin_random {
  size_t size; /* of this struct in bytes */
  void* state;
  double (*uniform)(void* state);                 /* [0, 1) */
  double (*normal)(void* state);                  /* standard normal */
  uint64_t (*below)(void* state, uint64_t count); /* [0, count) */
} fastnnunet_plugin_random;

/* A transform. No function may be null unless it is said here. */
typedef struct fastnnunet_plugin_transform {
  size_t size;       /* of this struct in bytes */
  uint32_t version;  /* FASTNNUNET_PLUGIN_VERSION */
  uint32_t reserved; /* 0 */
  void* self;        /* the first argument of every function */

  /* How many numbers describe one application. */
  int (*parameter_count)(void* self, const fastnnunet_plugin_geometry* geometry, size_t* count, char* message,
                         size_t capacity);
  /* Draws them: `count` numbers. There are no voxels yet. */
  int (*draw)(void* self, const fastnnunet_plugin_random* random, const fastnnunet_plugin_geometry* geometry,
              double* parameters, size_t count, char* message, size_t capacity);
  /* Sets `acts` to 0 where these parameters change nothing: apply() is then not called, and voxels are not touched;
   * else to 1. May be null: then they always change something. */
  int (*acts)(void* self, const double* parameters, size_t count, int* acts, char* message, size_t capacity);
  /* In place. `field` is for random numbers that no parameter stands for, such as noise. */
  int (*apply)(void* self, const fastnnunet_plugin_geometry* geometry, const fastnnunet_plugin_voxels* voxels,
               const double* parameters, size_t count, const fastnnunet_plugin_random* field, char* message,
               size_t capacity);
} fastnnunet_plugin_transform;

#ifdef __cplusplus
}
#endif

#endif
