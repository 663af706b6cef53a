// Losses beside the softmax: sigmoid cross entropy, hinge, multinomial logistic, contrastive and smooth L1.
// Compulsory bytes per value: read x (and its target), write the gradient.
#include "exponential.h"

#define LEAST_LIKELY (acc)1e-20

// Caffe casts a target to an integer before it is compared with the label to be ignored: of soft targets all of (-1, 1) are 0
DEVICE bool truncates_to(acc t, int label) {
  return (label > 0 ? t >= label : t > (acc)label - 1) && (label < 0 ? t <= label : t < (acc)label + 1);
}

// Per row of `run` values: the sum of -t ln p - (1 - t) ln(1 - p), p = 1 / (1 + e^-x), and how many targets t are not ignored;
// written as max(x, 0) - x t + ln(1 + e^-|x|), which overflows nowhere.
KERNEL(sigmoid_loss_forward, const real* __restrict__ x, const real* __restrict__ targets, double* __restrict__ loss,
       int* __restrict__ counted, int has_ignored, int ignored, index n, int run) {
  for_blocks(r, (int)((n + run - 1) / run)) {
    const index at = (index)r * run;
    double sum = 0;
    int count = 0;
    for_threads_in_order(i, (int)min((index)run, n - at)) {
      const acc v = x[at + i], t = targets[at + i];
      if (has_ignored && truncates_to(t, ignored)) continue;
      sum += (v > 0 ? v : 0) - v * t + log1p(exp(-fabs(v)));
      ++count;
    }
    sum = block_sum(sum), count = block_sum(count);
    for_threads(once, 1) loss[r] = sum, counted[r] = count;
  }
}

// dx = weight * (p - t), 0 where the target is ignored
KERNEL(sigmoid_loss_backward, const real* __restrict__ x, const real* __restrict__ targets, real* __restrict__ dx, acc weight,
       int has_ignored, int ignored, index n) {
  for_each(i, n) {
    const acc kept = has_ignored && truncates_to(targets[i], ignored) ? 0 : weight;
    dx[i] = kept == 0 ? 0 : kept * (logistic(x[i]) - targets[i]);
  }
}

// Per image, one against all: margin = max(0, 1 + sign x), sign -1 for the label's class and 1 for the others; `signed_margins` keeps
// sign * margin, loss the sum of the margins or of their squares, strange whether the label is no class.
KERNEL(hinge_forward, const real* __restrict__ x, const real* __restrict__ labels, real* __restrict__ signed_margins,
       double* __restrict__ loss, int* __restrict__ strange, int squared, int images, int classes) {
  for_blocks(r, images) {
    const real label = labels[r];
    double sum = 0;
    for_threads_in_order(c, classes) {
      const acc sign = label == c ? -1 : 1, reach = 1 + sign * x[(index)r * classes + c], margin = reach < 0 ? 0 : reach;
      signed_margins[(index)r * classes + c] = sign * margin;
      sum += squared ? margin * margin : margin;
    }
    sum = block_sum(sum);
    for_threads(once, 1) loss[r] = sum, strange[r] = !(label >= 0 && label < classes);
  }
}

// dx = weight * sign of the margin, or 2 * weight * margin
KERNEL(hinge_backward, const real* __restrict__ signed_margins, real* __restrict__ dx, acc weight, int squared, index n) {
  for_each(i, n) {
    const acc margin = signed_margins[i];
    dx[i] = weight * (squared ? 2 * margin : (acc)((margin > 0) - (margin < 0)));
  }
}

// Per image: -ln max(p[label], 1e-20), and whether the label is no class.
KERNEL(multinomial_forward, const real* __restrict__ p, const real* __restrict__ labels, double* __restrict__ loss,
       int* __restrict__ strange, int images, int classes) {
  for_blocks(r, images) {
    for_threads(once, 1) {
      const real label = labels[r];
      const bool known = label >= 0 && label < classes;
      const acc likely = known ? p[(index)r * classes + (int)label] : 1;
      loss[r] = -log((double)(likely < LEAST_LIKELY ? LEAST_LIKELY : likely));  // a NaN stays one
      strange[r] = !known;
    }
  }
}

// dp = -weight / max(p, 1e-20) at the label, 0 elsewhere
KERNEL(multinomial_backward, const real* __restrict__ p, const real* __restrict__ labels, real* __restrict__ dp, acc weight, int images,
       int classes) {
  for_blocks(r, images) {
    const real label = labels[r];
    for_threads(c, classes) {
      const acc likely = p[(index)r * classes + c];
      dp[(index)r * classes + c] = label == c ? -weight / (likely < LEAST_LIKELY ? LEAST_LIKELY : likely) : 0;
    }
  }
}

// Pairs (a, b) that are similar (similar[r] not 0) or not, s = |a - b|^2: loss s, or max(0, margin - sqrt(s))^2, by the legacy rule
// max(0, margin - s). `difference` keeps a - b and `squared` s.
KERNEL(contrastive_forward, const real* __restrict__ a, const real* __restrict__ b, const real* __restrict__ similar,
       real* __restrict__ difference, real* __restrict__ squared, double* __restrict__ loss, acc margin, int legacy, int pairs, int size) {
  for_blocks(r, pairs) {
    const index at = (index)r * size;
    acc sum = 0;
    for_threads_sum(i, size, sum) {
      const acc d = a[at + i] - b[at + i];
      difference[at + i] = d;
      sum += d * d;
    }
    const double s = block_sum((double)sum), reach = margin - (legacy ? s : sqrt(s));
    for_threads(once, 1) {
      squared[r] = s;
      loss[r] = (int)similar[r] ? s : reach < 0 ? 0 : legacy ? reach : reach * reach;
    }
  }
}

// The gradient of half the loss: dx = weight * (a - b) times 1, or for unlike pairs within the margin -(margin - sqrt(s)) / (sqrt(s) + 1e-4),
// by the legacy rule -1
KERNEL(contrastive_backward, const real* __restrict__ difference, const real* __restrict__ squared, const real* __restrict__ similar,
       real* __restrict__ dx, acc weight, acc margin, int legacy, int pairs, int size) {
  for_blocks(r, pairs) {
    const acc distance = sqrt(squared[r]), reach = margin - (legacy ? squared[r] : distance);
    const acc pull = (int)similar[r] ? 1 : reach <= 0 ? 0 : legacy ? -1 : -reach / (distance + (acc)1e-4);
    for_threads(i, size) dx[(index)r * size + i] = weight * pull * difference[(index)r * size + i];
  }
}

// Smooth L1 (Girshick, Fast R-CNN, section 2.3) of d = inner * (a - b), per `run` values the sum of outer * f(d): f is d^2 s / 2 where |d| < 1 / s,
// |d| - 1 / (2 s) beyond, s = sigma^2. slope = the sum's gradient by a; without weights they are 1.
KERNEL(smooth_l1_forward, const real* __restrict__ a, const real* __restrict__ b, const real* __restrict__ inner,
       const real* __restrict__ outer, real* __restrict__ slope, double* __restrict__ loss, acc s, index n, int run) {
  for_blocks(r, (int)((n + run - 1) / run)) {
    const index at = (index)r * run;
    double sum = 0;
    for_threads_in_order(i, (int)min((index)run, n - at)) {
      const acc in = inner ? inner[at + i] : 1, out = outer ? outer[at + i] : 1, d = in * (a[at + i] - b[at + i]);
      const bool beyond = fabs(d) >= 1 / s;  // a NaN is not
      sum += out * (beyond ? fabs(d) - (acc)0.5 / s : d * d * s / 2);
      slope[at + i] = in * out * (beyond ? (acc)((d > 0) - (d < 0)) : d * s);
    }
    sum = block_sum(sum);
    for_threads(once, 1) loss[r] = sum;
  }
}
