#pragma once

#include <utility>

#include "libslice/model/config.h"

namespace slice::detail {

/// Every form by its name in config.json and in reports.
inline constexpr std::pair<ShortcutForm, const char*> kShortcutNames[] = {
    {ShortcutForm::kDense, "dense"},
    {ShortcutForm::kDiagonal, "diagonal"},
    {ShortcutForm::kLowRank, "lowrank"},
    {ShortcutForm::kNone, "none"}};

}  // namespace slice::detail
