// What a sample carries beside image and labels: what transforms in Python have added to it. Only they work on it.
#pragma once

#include <string>
#include <vector>

#include "fastnnunet/sample/target.h"

namespace fastnnunet::sample {

class Companion {
 public:
  virtual ~Companion() = default;

  // Labels of a form of their own, in place of the sample's segmentation; or that there are none any more.
  virtual bool holds_labels() const = 0;
  // Entries that transforms of labels change, too: a regression target, key points, boxes.
  virtual bool holds_entries_of_transforms() const = 0;
  // The labels as training targets, in memory of its own; empty where there are none. Throws TransformError.
  virtual std::vector<Target> targets() = 0;
  virtual bool target_is_list() const = 0;
  // The transform that gave the labels their form.
  virtual std::string labels_from() const = 0;
};

}  // namespace fastnnunet::sample
