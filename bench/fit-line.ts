/**
 * The straight line through values one step apart, by least squares: its rise from one to the next, and the standard
 * error of that. Takes deviations to be independent: where they last over several values, the rise is less certain.
 */
export function fitLine(values: readonly number[]): { slope: number; standardError: number } {
  const count = values.length;
  const middle = (count - 1) / 2;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  let spread = 0;
  let product = 0;
  for (const [i, value] of values.entries()) {
    spread += (i - middle) ** 2;
    product += (i - middle) * (value - mean);
  }
  const slope = product / spread;
  const deviation = values.reduce((sum, value, i) => sum + (value - mean - slope * (i - middle)) ** 2, 0);
  return { slope, standardError: Math.sqrt(deviation / (count - 2) / spread) };
}
