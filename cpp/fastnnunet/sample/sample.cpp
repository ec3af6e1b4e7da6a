#include "fastnnunet/sample/sample.h"

#include <cstring>
#include <string>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/sample/memory/placement.h"

namespace fastnnunet::sample {
namespace {

// All of a source, channel by channel. A folded array has a source channel's planes behind one another, which is the
// same memory.
template <typename T>
void read_all(Source<T>& source, T* out) {
  const Box window = Box::of_shape(source.shape());
  const std::int64_t channel_size = voxels(source.shape());
  for (std::int64_t channel = 0; channel < source.channels(); ++channel)
    source.read(channel, window, out + channel * channel_size);
}

std::string text(std::int64_t channels, const Index3& shape) {
  std::string list = "(" + std::to_string(channels);
  for (const std::int64_t size : shape) list += ", " + std::to_string(size);
  return list + ")";
}

std::string text(const Target& target) {
  return text(target.channels, target.shape) + " " + std::string(name_of(target.type));
}

}  // namespace

void Sample::begin(Source<float>& image, Source<std::int16_t>* segmentation, int dims, const Destination* destination) {
  destination_ = destination;
  image_source_ = pending_image_ = &image;
  segmentation_source_ = pending_segmentation_ = segmentation;
  has_segmentation_ = segmentation != nullptr;
  dims_ = dims;
  image_ = {nullptr, image.channels(), image.shape()};
  segmentation_ =
      has_segmentation_ ? Array<std::int16_t>{nullptr, segmentation->channels(), image.shape()} : Array<std::int16_t>{};
  regression_ = {};
  follower_ = nullptr;
  planes_ = 0;
  regions_ = {};
  targets_.clear();
  target_is_list_ = false;
  companion_.reset();
}

void Sample::let_go() {
  destination_ = nullptr;
  image_source_ = pending_image_ = nullptr;
  segmentation_source_ = pending_segmentation_ = nullptr;
  follower_ = nullptr;
  targets_.clear();
  companion_.reset();
}

Geometry Sample::geometry() const {
  const std::int64_t labels = regions_.data != nullptr ? regions_.channels : segmentation_.channels;
  return {image_.channels, labels, image_.shape, dims_, planes_};
}

Array<float>& Sample::image() {
  if (pending_image_ != nullptr) {
    Source<float>& source = *pending_image_;
    const Array<float> read = new_image(image_.channels, image_.shape);
    read_all(source, read.data);
    set_image(read);
  }
  return image_;
}

Array<std::int16_t>& Sample::segmentation() {
  if (pending_segmentation_ != nullptr) {
    Source<std::int16_t>& source = *pending_segmentation_;
    const Array<std::int16_t> read = new_segmentation(segmentation_.channels, segmentation_.shape);
    read_all(source, read.data);
    set_segmentation(read);
  }
  return segmentation_;
}

Array<float> Sample::new_image(std::int64_t channels, const Index3& shape) {
  Array<float> image{nullptr, channels, shape};
  const Form form{channels, shape, folded()};
  const Array<float> wanted = destination_ != nullptr ? destination_->image : Array<float>{};
  const auto fits = [&](std::size_t) { return fits_image({wanted.channels, wanted.shape}, form); };
  MemoryPlace present = image_.data != nullptr && image_.data == workspace_.image_[0].address() ? kFirst : kSecond;
  if (wanted.data != nullptr && image_.data == wanted.data) present = kBatch;
  const MemoryPlace place = place_beside(present, wanted.data != nullptr ? 1 : 0, fits);
  image.data =
      place == kBatch ? wanted.data : workspace_.image_[place].reserve<float>(static_cast<std::size_t>(image.size()));
  return image;
}

Array<std::int16_t> Sample::new_segmentation(std::int64_t channels, const Index3& shape) {
  Array<std::int16_t> segmentation{nullptr, channels, shape};
  const Form form{channels, shape, folded()};
  const std::span<const Target> wanted =
      destination_ != nullptr ? std::span<const Target>(destination_->targets) : std::span<const Target>{};
  const auto fits = [&](std::size_t i) {
    return fits_labels(wanted[i].type, {wanted[i].channels, wanted[i].shape}, form);
  };
  const bool in_first = segmentation_.data != nullptr && segmentation_.data == workspace_.segmentation_[0].address();
  MemoryPlace present = in_first ? kFirst : kSecond;
  for (std::size_t i = 0; i < wanted.size(); ++i)
    if (wanted[i].data == segmentation_.data) present = kBatch + static_cast<MemoryPlace>(i);
  const MemoryPlace place = place_beside(present, wanted.size(), fits);
  segmentation.data =
      place >= kBatch
          ? static_cast<std::int16_t*>(wanted[static_cast<std::size_t>(place - kBatch)].data)
          : workspace_.segmentation_[place].reserve<std::int16_t>(static_cast<std::size_t>(segmentation.size()));
  return segmentation;
}

void Sample::set_image(const Array<float>& image) {
  pending_image_ = nullptr;
  image_ = image;
}

void Sample::set_segmentation(const Array<std::int16_t>& segmentation) {
  pending_segmentation_ = nullptr;
  segmentation_ = segmentation;
}

void Sample::extend_image(std::int64_t channels) {
  const Array<float> present = image();
  if (destination_ != nullptr && present.data == destination_->image.data &&
      fits_image({destination_->image.channels, destination_->image.shape}, {channels, present.shape})) {
    image_.channels = channels;
    return;
  }
  const Array<float> extended = new_image(channels, present.shape);
  std::memcpy(extended.data, present.data, static_cast<std::size_t>(present.size()) * sizeof(float));
  set_image(extended);
}

std::shared_ptr<void> Sample::lease(const void* data) const {
  for (const auto* buffers : {&workspace_.image_, &workspace_.segmentation_, &workspace_.regions_})
    for (const platform::Buffer& buffer : *buffers)
      if (buffer.address() == data) return buffer.lease();
  for (const platform::Buffer& buffer : workspace_.targets_)
    if (buffer.address() == data) return buffer.lease();
  if (destination_ != nullptr) {
    if (destination_->image.data == data) return destination_->owner;
    for (const Target& target : destination_->targets)
      if (target.data == data) return destination_->owner;
  }
  return nullptr;
}

void Sample::set_form(int dims, std::int64_t planes) {
  dims_ = dims;
  planes_ = planes;
}

void Sample::fold_planes() {
  planes_ = image_.shape[0];
  image_.channels *= planes_;
  image_.shape[0] = 1;
  if (has_segmentation_) {
    segmentation_.channels *= planes_;
    segmentation_.shape[0] = 1;
  }
  dims_ = 2;
}

void Sample::unfold_planes() {
  if (!folded())
    throw InvalidArgument("Convert2DTo3DTransform", "a sample that Convert3DTo2DTransform made 2D", "another");
  image_.shape[0] = planes_;
  image_.channels /= planes_;
  if (has_segmentation_) {
    segmentation_.shape[0] = planes_;
    segmentation_.channels /= planes_;
  }
  planes_ = 0;
  dims_ = 3;
}

void* Sample::target_memory(std::size_t number, std::size_t bytes) {
  if (workspace_.targets_.size() <= number) workspace_.targets_.resize(number + 1);
  return workspace_.targets_[number].reserve<std::byte>(bytes);
}

Target Sample::new_target(std::size_t number, TargetType type, std::int64_t channels, const Index3& shape) {
  Target target{type, nullptr, channels, shape};
  if (destination_ != nullptr && number < destination_->targets.size()) {
    const Target& wanted = destination_->targets[number];
    if (fits_target(wanted.type, {wanted.channels, wanted.shape}, type, {channels, shape}) &&
        wanted.data != segmentation_.data) {
      target.data = wanted.data;
      return target;
    }
  }
  target.data = target_memory(number, target.bytes());
  return target;
}

Target Sample::new_regions(std::int64_t channels, const Index3& shape) {
  Target regions{TargetType::boolean, nullptr, channels, shape};
  if (destination_ != nullptr)
    for (const Target& wanted : destination_->targets)
      if (fits_regions(wanted.type, {wanted.channels, wanted.shape}, {channels, shape})) {
        regions.data = wanted.data;
        return regions;
      }
  regions.data = workspace_.regions_[0].reserve<std::byte>(regions.bytes());
  return regions;
}

Target Sample::other_regions(std::int64_t channels, const Index3& shape) {
  Target regions{TargetType::boolean, nullptr, channels, shape};
  const int buffer = regions_.data != nullptr && regions_.data == workspace_.regions_[0].address() ? 1 : 0;
  regions.data = workspace_.regions_[buffer].reserve<std::byte>(regions.bytes());
  return regions;
}

void Sample::finish(bool targets_wanted) {
  const Array<float> image = this->image();
  if (companion_ != nullptr && companion_->holds_labels()) {
    targets_.clear();
    target_is_list_ = companion_->target_is_list();
    if (targets_wanted) targets_ = companion_->targets();
  } else if (has_segmentation_ && targets_.empty()) {
    if (regions() != nullptr) {
      targets_.push_back(regions_);
    } else {
      const Array<std::int16_t> labels = segmentation();
      targets_.push_back({TargetType::int16, labels.data, labels.channels, labels.shape});
    }
  }
  if (destination_ == nullptr) return;
  const Array<float>& wanted = destination_->image;
  if (image.channels != wanted.channels || image.shape != wanted.shape)
    throw InvalidArgument("pipeline", "an image of " + text(wanted.channels, wanted.shape),
                          text(image.channels, image.shape));
  if (image.data != wanted.data)
    std::memcpy(wanted.data, image.data, static_cast<std::size_t>(image.size()) * sizeof(float));
  if (targets_.size() != destination_->targets.size())
    throw InvalidArgument("pipeline", std::to_string(destination_->targets.size()) + " targets",
                          std::to_string(targets_.size()));
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    const Target& target = destination_->targets[i];
    if (!holds(target.type, targets_[i].type) || targets_[i].channels != target.channels ||
        targets_[i].shape != target.shape)
      throw InvalidArgument("pipeline", "a target of " + text(target), text(targets_[i]));
    if (targets_[i].data != target.data) copy_values(targets_[i], target);
  }
}

}  // namespace fastnnunet::sample
