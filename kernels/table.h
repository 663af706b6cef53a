// Many arrays in one launch: a row of `table` holds the size of its arrays, the number of its first run and `columns` addresses; `owners` has
// the row of each run of at most `run` values.
#pragma once
#include "kernel.h"

struct Part { const index* row; index first; int count; };
DEVICE Part part_of(int r, const index* table, const int* owners, int columns, int run) {
  const index* row = table + (index)owners[r] * (2 + columns);
  const index first = (r - row[1]) * run;
  return {row, first, (int)min((index)run, row[0] - first)};
}
DEVICE real* array_of(Part part, int column) { return (real*)part.row[2 + column] + part.first; }
