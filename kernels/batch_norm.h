// One channel of batch norm, value by value: the formulas of batch_norm.cu, the same ones in forward and backward.
#pragma once
#include "rows.h"

struct Channel { acc mean, inverse, scale, shift, least; };

DEVICE acc normal_of(const Channel& c, acc x) { return (x - c.mean) * c.inverse; }
DEVICE acc unbounded(const Channel& c, acc normal) { return c.scale * normal + c.shift; }
DEVICE acc y_of(const Channel& c, acc normal) { return unbounded(c, normal) < c.least ? c.least : unbounded(c, normal); }  // a NaN stays one
DEVICE acc dy_of(const Channel& c, acc normal, acc dy) { return unbounded(c, normal) <= c.least ? 0 : dy; }
