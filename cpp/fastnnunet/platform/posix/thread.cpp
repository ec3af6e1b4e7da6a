#include "fastnnunet/platform/thread.h"

#include <limits.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>
#include <utility>

namespace fastnnunet::platform {
namespace {

void require(int error) {
  if (error != 0) throw std::system_error(error, std::generic_category());
}

// What the system takes: whole pages, and not less than it needs itself.
std::size_t stack_size(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(std::max(::sysconf(_SC_PAGESIZE), 1L));
  const auto least = static_cast<std::size_t>(PTHREAD_STACK_MIN);
  return (std::max(bytes, least) + page - 1) / page * page;
}

struct Attributes {
  Attributes() { require(::pthread_attr_init(&value)); }
  ~Attributes() { ::pthread_attr_destroy(&value); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  pthread_attr_t value;
};

}  // namespace

struct Thread::Handle {
  explicit Handle(std::function<void()> what) : body(std::move(what)) {}
  std::function<void()> body;
  pthread_t thread{};
};

Thread::Thread(std::size_t stack_bytes, std::function<void()> body)
    : handle_(std::make_unique<Handle>(std::move(body))) {
  Attributes attributes;
  require(::pthread_attr_setstacksize(&attributes.value, stack_size(stack_bytes)));
  const auto run = [](void* handle) -> void* {
    static_cast<Handle*>(handle)->body();
    return nullptr;
  };
  require(::pthread_create(&handle_->thread, &attributes.value, run, handle_.get()));
}

Thread::Thread(Thread&&) noexcept = default;
Thread::~Thread() = default;

void Thread::join() { require(::pthread_join(handle_->thread, nullptr)); }

}  // namespace fastnnunet::platform
