// What a thread holds for a sample, known before there is one.
#pragma once

#include <cstddef>
#include <span>

#include "fastnnunet/pipeline/layout.h"
#include "fastnnunet/pipeline/plan.h"

namespace fastnnunet::pipeline {

// An upper bound for samples of this geometry that go through these steps, or through some of them, and come out in
// this layout. Of a step in Python only the layout tells what it makes.
std::size_t workspace_bytes(std::span<const Plan::Step> steps, const Geometry& geometry, const Layout& layout);

}  // namespace fastnnunet::pipeline
