// Whole numbers that JavaScript would round.

/** A whole number that a double cannot hold. */
export class InexactNumber extends Error {
  override name = "InexactNumber";
}

/**
 * For JSON.parse. A whole number that a double cannot hold would come back as another one, and a seed would be another
 * picture: throws InexactNumber.
 */
export function refuseInexact(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    const source = context?.source ?? String(value);
    if (!/[.eE]/.test(source)) {
      throw new InexactNumber(`${source} has more digits than a browser keeps; use a number below 2^53`);
    }
  }
  return value;
}
