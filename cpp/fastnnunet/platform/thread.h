// A thread of this process that works on pixels.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace fastnnunet::platform {

// As std::thread, but with a stack of a size that the system's settings (ulimit -s) do not change. Memory of the stack
// is taken as it is used.
class Thread {
 public:
  // Throws std::system_error where the system gives the process no more threads or memory. `body` does not throw.
  // Windows and the sanitizers' runtimes may choose a larger stack.
  Thread(std::size_t stack_bytes, std::function<void()> body);
  Thread(Thread&&) noexcept;
  ~Thread();  // after join()

  // Waits for the end of `body`.
  void join();

 private:
  struct Handle;
  std::unique_ptr<Handle> handle_;
};

}  // namespace fastnnunet::platform
