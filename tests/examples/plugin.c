/* A Python extension with transforms in C99, against fastnnunet/plugin/abi.h alone. */
#include <Python.h>
#include <fastnnunet/plugin/abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct scale {
  fastnnunet_plugin_transform table;
  char failing[16]; /* the function that fails */
} scale;

static int living = 0; /* changed with Python's lock */

static int fails(const scale* of, const char* function, char* message, size_t capacity) {
  if (strcmp(of->failing, function) != 0) return 0;
  snprintf(message, capacity, "no %s \xC3\xA4", function);
  return 7;
}

static int parameter_count(void* self, const fastnnunet_plugin_geometry* geometry, size_t* count, char* message,
                           size_t capacity) {
  *count = (size_t)geometry->image_channels;
  return fails(self, "count", message, capacity);
}

static int draw(void* self, const fastnnunet_plugin_random* random, const fastnnunet_plugin_geometry* geometry,
                double* parameters, size_t count, char* message, size_t capacity) {
  size_t i;
  (void)geometry;
  for (i = 0; i < count; ++i) parameters[i] = 2 + random->uniform(random->state);
  return fails(self, "draw", message, capacity);
}

/* The first channel's factor decides. */
static int acts(void* self, const double* parameters, size_t count, int* acts, char* message, size_t capacity) {
  *acts = count > 0 && parameters[0] < 2.5;
  return fails(self, "acts", message, capacity);
}

static int apply(void* self, const fastnnunet_plugin_geometry* geometry, const fastnnunet_plugin_voxels* voxels,
                 const double* parameters, size_t count, const fastnnunet_plugin_random* field, char* message,
                 size_t capacity) {
  const int64_t size = geometry->shape[0] * geometry->shape[1] * geometry->shape[2];
  size_t channel;
  int64_t i;
  (void)field;
  for (channel = 0; channel < count; ++channel)
    for (i = 0; i < size; ++i) voxels->image[(int64_t)channel * size + i] *= (float)parameters[channel];
  for (i = 0; voxels->segmentation != NULL && i < geometry->segmentation_channels * size; ++i)
    voxels->segmentation[i] = (int16_t)(voxels->segmentation[i] + 1);
  return fails(self, "apply", message, capacity);
}

static void release(PyObject* capsule) {
  free(PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule)));
  --living;
}

/* make(failing, version, capsule's name) */
static PyObject* make(PyObject* module, PyObject* arguments) {
  static const fastnnunet_plugin_transform functions = {
      sizeof(fastnnunet_plugin_transform), FASTNNUNET_PLUGIN_VERSION, 0, NULL, parameter_count, draw, acts, apply};
  const char* failing = "";
  unsigned version = FASTNNUNET_PLUGIN_VERSION;
  int old = 0;
  PyObject* capsule;
  scale* made;
  (void)module;
  if (!PyArg_ParseTuple(arguments, "|sIp", &failing, &version, &old)) return NULL;
  made = calloc(1, sizeof(scale));
  if (made == NULL) return PyErr_NoMemory();
  made->table = functions;
  made->table.version = version;
  made->table.self = made;
  strncpy(made->failing, failing, sizeof(made->failing) - 1);
  capsule = PyCapsule_New(&made->table,
                          old ? "fastnnunet_loader.plugin.Transform.2/libstdc++" : FASTNNUNET_PLUGIN_CAPSULE, release);
  if (capsule == NULL) {
    free(made);
    return NULL;
  }
  ++living;
  return capsule;
}

static PyObject* count_living(PyObject* module, PyObject* nothing) {
  (void)module;
  (void)nothing;
  return PyLong_FromLong(living);
}

static PyMethodDef methods[] = {
    {"make", make, METH_VARARGS, NULL}, {"living", count_living, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "c_plugin", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_c_plugin(void) { return PyModule_Create(&definition); }
