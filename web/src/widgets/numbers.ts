// Numbers as people type and drag them.
import type { Widget } from "../model/value";

export type NumberWidget = Extract<Widget, { kind: "number" }>;

/** Put a number into the range of a widget and onto its grid. */
export function settle(value: number, { integer, low, high, openLow, step }: NumberWidget): number {
  let next = integer ? Math.round(value / step) * step : Number.isInteger(value) ? value : Number(value.toPrecision(12));
  if (high !== null && next > high) next = high;
  if (low !== null && (openLow ? next <= low : next < low)) next = openLow ? low + step : low;
  return next;
}

/**
 * The number that a text says; it may be a small sum such as `512*2` or `(1+2)/3`. Null where it says none.
 */
export function parseNumber(text: string): number | null {
  const tokens = text.replaceAll(",", ".").match(/\d+\.?\d*(?:e[+-]?\d+)?|\.\d+|[-+*/()]|\S/gi) ?? [];
  let at = 0;
  function sum(): number {
    let value = product();
    while (tokens[at] === "+" || tokens[at] === "-") value = tokens[at++] === "+" ? value + product() : value - product();
    return value;
  }
  function product(): number {
    let value = factor();
    while (tokens[at] === "*" || tokens[at] === "/") value = tokens[at++] === "*" ? value * factor() : value / factor();
    return value;
  }
  function factor(): number {
    const token = tokens[at++];
    if (token === "-") return -factor();
    if (token === "+") return factor();
    if (token === "(") {
      const value = sum();
      return tokens[at++] === ")" ? value : NaN;
    }
    return token === undefined || !/^[\d.]/.test(token) ? NaN : Number(token);
  }
  const value = sum();
  return at === tokens.length && Number.isFinite(value) ? value : null;
}

/** Whether a browser holds a number as it was written: whole ones below 2^53, and fractions to their precision. */
export const isKept = (value: number): boolean => !Number.isInteger(value) || Number.isSafeInteger(value);

/** A number as it is shown: whole ones to the last digit, others without the dust of binary fractions. */
export const format = (value: number): string => String(Number.isInteger(value) ? value : Number(value.toPrecision(10)));
