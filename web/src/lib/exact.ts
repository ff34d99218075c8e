// Whole numbers that JavaScript would round.

/** A whole number that JavaScript would write as another one. */
export class InexactNumber extends Error {
  override name = "InexactNumber";
}

/**
 * For JSON.parse. A whole number whose digits JavaScript does not keep would be another one when it is written again, and a
 * seed another picture: throws InexactNumber. 1e20, which JavaScript writes with all its zeros, comes back as it was.
 */
export function refuseInexact(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    const written = String(value);
    const source = context?.source;
    // A browser that does not say how it was written may have rounded it.
    if (source === undefined ? !written.includes("e") : !/[.eE]/.test(source) && source !== written) {
      throw new InexactNumber(`${source ?? written} has more digits than a browser keeps; use a number below 2^53`);
    }
  }
  return value;
}
