// Sentences of errors from pieces: text("file ", 3, " is empty"). Error paths only: it allocates.
#pragma once

#include <sstream>
#include <string>

namespace hypura::runtime {

template <typename... Pieces>
std::string text(const Pieces&... pieces) {
  std::ostringstream out;
  (out << ... << pieces);
  return out.str();
}

}  // namespace hypura::runtime
