#include "fastnnunet/pipeline/transform_tree.h"

#include "fastnnunet/pipeline/pipeline.h"
#include "fastnnunet/transforms/plugin_transform.h"

namespace fastnnunet {

TransformTree::TransformTree(pipeline::Node node) : node_(std::make_unique<pipeline::Node>(std::move(node))) {}
TransformTree::TransformTree(TransformTree&&) noexcept = default;
TransformTree& TransformTree::operator=(TransformTree&&) noexcept = default;
TransformTree::~TransformTree() = default;

std::vector<pipeline::Node> TransformTree::nodes_of(std::vector<TransformTree> trees) {
  std::vector<pipeline::Node> nodes;
  nodes.reserve(trees.size());
  for (TransformTree& tree : trees) nodes.push_back(std::move(*tree.node_));
  return nodes;
}

TransformTree TransformTree::transform(std::string_view name, const Record& attributes) {
  // Messages name the transform.
  Record owned{std::string(name)};
  for (const auto& [key, value] : attributes.values()) owned.set(key, value);
  return TransformTree(pipeline::Node::leaf(transforms::make_transform(name, owned)));
}

TransformTree TransformTree::plugin(std::string name, std::shared_ptr<const fastnnunet_plugin_transform> table) {
  return TransformTree(pipeline::Node::leaf(transforms::make_plugin_transform(std::move(name), std::move(table))));
}

TransformTree TransformTree::compose(std::vector<TransformTree> children) {
  return TransformTree(pipeline::Node::compose(nodes_of(std::move(children))));
}

TransformTree TransformTree::random(TransformTree child, double probability) {
  return TransformTree(pipeline::Node::random(std::move(*child.node_), probability));
}

TransformTree TransformTree::one_of(std::vector<TransformTree> children) {
  return TransformTree(pipeline::Node::one_of(nodes_of(std::move(children))));
}

std::shared_ptr<pipeline::Pipeline> compile(TransformTree tree) {
  return std::make_shared<pipeline::Pipeline>(std::move(*tree.node_));
}

std::vector<std::string_view> transform_names() {
  std::vector<std::string_view> names;
  for (const transforms::TransformEntry& entry : transforms::transform_table()) names.push_back(entry.name);
  return names;
}

}  // namespace fastnnunet
