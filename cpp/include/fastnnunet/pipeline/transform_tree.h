// The tree of transforms that a loader applies, as batchgeneratorsv2 has it:
//
//   auto pipeline = compile(TransformTree::compose(
//       TransformTree::random(TransformTree::transform("GammaTransform", attributes), 0.3),
//       TransformTree::transform("MirrorTransform", mirror_attributes)));
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fastnnunet/base/api.h"
#include "fastnnunet/plugin/abi.h"
#include "fastnnunet/transforms/record.h"

namespace fastnnunet {

namespace pipeline {
struct Node;
class Pipeline;
}  // namespace pipeline
using pipeline::Pipeline;

class FASTNNUNET_API TransformTree {
 public:
  // One of transform_names(), which are batchgeneratorsv2's classes, with the attributes of such an object under their
  // names there: numbers, lists of numbers, and Scalar for batchgeneratorsv2's RandomScalar. Throws InvalidArgument or
  // InvalidType, which names what is missing.
  static TransformTree transform(std::string_view name, const Record& attributes);
  // One that is built outside of this project. `name` is for messages and statistics. The table is released when the
  // last loader that has it is gone. Throws InvalidArgument.
  static TransformTree plugin(std::string name, std::shared_ptr<const fastnnunet_plugin_transform> table);

  // All of them, one after the other.
  static TransformTree compose(std::vector<TransformTree> children);
  template <typename... Trees>
  static TransformTree compose(TransformTree first, Trees... others) {
    std::vector<TransformTree> children;
    children.reserve(1 + sizeof...(others));
    children.push_back(std::move(first));
    (children.push_back(std::move(others)), ...);
    return compose(std::move(children));
  }
  // This, with a probability.
  static TransformTree random(TransformTree child, double probability);
  // One of them, each with the same probability.
  static TransformTree one_of(std::vector<TransformTree> children);

  TransformTree(TransformTree&&) noexcept;
  TransformTree& operator=(TransformTree&&) noexcept;
  ~TransformTree();

 private:
  friend FASTNNUNET_API std::shared_ptr<Pipeline> compile(TransformTree tree);
  explicit TransformTree(pipeline::Node node);
  static std::vector<pipeline::Node> nodes_of(std::vector<TransformTree> trees);

  std::unique_ptr<pipeline::Node> node_;
};

// What a Loader takes. Loaders may share it.
FASTNNUNET_API std::shared_ptr<Pipeline> compile(TransformTree tree);

FASTNNUNET_API std::vector<std::string_view> transform_names();

}  // namespace fastnnunet
