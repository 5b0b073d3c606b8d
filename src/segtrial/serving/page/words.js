// Numbers and names -> words.

/** 0.4567 -> "45.7 %"; what is there but small is not called nothing, and what is not everything not all. */
export function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

/** ["a", "b", "c"] -> "a, b, c". */
export function listed(words, between = ", ") {
  return words.join(between);
}
