// The layout of every record that crosses the border, as JSON: the source of ts/native/layout.gen.ts.
//
// The compiler is asked rather than the header copied by hand, so the two sides cannot drift apart: scripts/gen-layout.ts
// prints this into TypeScript, and a test fails when the committed file is stale.
#pragma once

#include <string>

namespace hypura::runtime {

// {"abiVersion", "magics", "records": {name: {"size", "fields": {name: {"offset", "type"}}}}, "enums": {name: {…}},
//  "limits"}. Types: u8, u16, u32, u64, i64, f32, f64.
std::string layout_json();

}  // namespace hypura::runtime
