#include "fastnnunet/platform/thread.h"

#include <thread>
#include <utility>

namespace fastnnunet::platform {

struct Thread::Handle {
  std::thread thread;
};

// The program says how large stacks are.
Thread::Thread(std::size_t, std::function<void()> body)
    : handle_(std::make_unique<Handle>(Handle{std::thread(std::move(body))})) {}

Thread::Thread(Thread&&) noexcept = default;
Thread::~Thread() = default;

void Thread::join() { handle_->thread.join(); }

}  // namespace fastnnunet::platform
