const SUFFIXES: Record<string, [base: bigint, power: number]> = {
  n: [10n, -9],
  u: [10n, -6],
  m: [10n, -3],
  '': [10n, 0],
  k: [10n, 3],
  M: [10n, 6],
  G: [10n, 9],
  T: [10n, 12],
  P: [10n, 15],
  E: [10n, 18],
  Ki: [2n, 10],
  Mi: [2n, 20],
  Gi: [2n, 30],
  Ti: [2n, 40],
  Pi: [2n, 50],
  Ei: [2n, 60],
};
const QUANTITY = /^([+-]?)(\d*)(?:\.(\d*))?(?:([eE][+-]?\d{1,2})|([numkMGTPE]|[KMGTPE]i)?)$/;
/** Everything is counted in 10^-18, so that nothing that can be written is lost. */
const SCALE = 18;

/**
 * The exact value of a resource quantity (k8s.io/apimachinery pkg/api/resource/quantity.go), in units of 10^-18;
 * undefined where it is none. The API server writes `1000m` as `1`: equal amounts have equal values.
 */
export function quantityOf(value: unknown): bigint | undefined {
  const match = QUANTITY.exec(
    typeof value === 'number' ? String(value) : typeof value === 'string' ? value : 'x',
  );
  if (!match) return undefined;
  const [, sign, whole = '', fraction = '', exponent, suffix = ''] = match;
  if (whole === '' && fraction === '') return undefined;
  const [base, power] = exponent === undefined ? SUFFIXES[suffix]! : [10n, Number(exponent.slice(1))];
  if (fraction.length + Math.max(0, base === 10n ? -power : 0) > SCALE) return undefined;
  let amount = BigInt(whole + fraction) * 10n ** BigInt(SCALE - fraction.length);
  if (power >= 0) amount *= base ** BigInt(power);
  else amount /= base ** BigInt(-power);
  return sign === '-' ? -amount : amount;
}
